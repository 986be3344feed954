// A player keeps some videos together: all start at once, and again when all have ended. A video's address is in its
// `data-file`, and is given to it when it is first played.
class Player {
  static PAUSE = 500; // milliseconds between two rounds
  static PATIENCE = 2000; // milliseconds that videos are waited for before those that are there play

  constructor(videos, label) {
    this.videos = videos;
    this.label = label;
    this.going = false;
    this.ended = new Set();
    for (const video of videos) {
      video.addEventListener("ended", () => this.finish(video));
      video.addEventListener("error", () => this.finish(video));
    }
  }

  load() {
    for (const video of this.videos) {
      if (!video.hasAttribute("src")) {
        video.src = video.dataset.file;
        video.load();
      }
    }
  }

  unload() {
    this.stop();
    for (const video of this.videos) {
      if (video.hasAttribute("src")) {
        video.removeAttribute("src");
        video.load();
      }
    }
  }

  async play() {
    if (!this.videos.length) return;
    this.load();
    this.going = true;
    this.said();
    const waiting = this.videos.map((video) => new Promise((done) => {
      if (video.readyState >= 3 || video.error) done();
      video.addEventListener("canplay", done, { once: true });
      video.addEventListener("error", done, { once: true });
    }));
    await Promise.race([Promise.all(waiting), new Promise((done) => setTimeout(done, Player.PATIENCE))]);
    if (this.going) this.round();
  }

  round() {
    clearTimeout(this.timer);
    this.ended.clear();
    for (const video of this.videos) {
      video.currentTime = 0;
      video.play().catch(() => this.finish(video));
    }
  }

  finish(video) {
    this.ended.add(video);
    if (this.going && this.ended.size === this.videos.length && this.videos.some((one) => !one.error)) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.going && this.round(), Player.PAUSE);
    }
  }

  stop() {
    this.going = false;
    clearTimeout(this.timer);
    for (const video of this.videos) video.pause();
    this.said();
  }

  toggle() {
    if (this.going) this.stop();
    else this.play();
  }

  said() {
    if (this.label) this.label.textContent = this.going ? "stop" : "play";
  }
}
