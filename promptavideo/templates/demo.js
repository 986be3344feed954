// Plays the videos of an answer together. gradio calls this when the component is there, with `element` and `watch`.
let player = null;
const showAnswer = () => {
  if (player) player.stop();
  player = null;
  const videos = [...element.querySelectorAll("video[data-file]")];
  if (!videos.length) return;
  const toggle = element.querySelector("[data-act=toggle]");
  player = new Player(videos, toggle);
  toggle.addEventListener("click", () => player.toggle());
  element.querySelector("[data-act=replay]").addEventListener("click", () => player.play());
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    player.load();
    player.said();
  } else {
    player.play();
  }
};
watch("value", showAnswer);
showAnswer();
