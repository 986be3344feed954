// The page of a user study. With a server every answer is stored there before the next pair is shown; from a folder,
// answers are kept in the browser and handed over as a file.
"use strict";

const data = JSON.parse(document.getElementById("study-data").textContent);
const served = document.documentElement.dataset.server === "yes";
const still = matchMedia("(prefers-reduced-motion: reduce)");
const GUARD_MS = 400; // a new pair takes no answer for so long, so that a double click answers one only
const WAITS_MS = [500, 1000, 2000, 4000, 8000];
const FORMAT = "prompt-a-video-votes";
const KEY = `user-study:${data.plan}`;
const KEYS = {
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "both-good", ArrowDown: "both-poor",
  1: "left", 2: "right", 3: "both-good", 4: "both-poor",
};

const at = id => document.getElementById(id);
const buttons = [...document.querySelectorAll("[data-answer]")];
const views = ["start", "pair", "paused", "end"];
const pause = ms => new Promise(done => setTimeout(done, ms));

// What is kept in the browser: who the rater is, an answer that the server has not confirmed, and without a server all.
let kept = { rater: null, slot: null, agreed: false, pending: null, votes: [] };
let keeps = true;
let busy = true; // while nothing may be answered
let shownAt = 0;
let view = "start";
let clips = [];
let turn = 0; // of what is shown, so that what loads late for an earlier pair is ignored

function load() {
  try {
    kept = { ...kept, ...JSON.parse(localStorage.getItem(KEY) || "{}") };
  } catch {
    keeps = false;
  }
  if (!kept.rater) kept.rater = randomId();
  keep();
}

function keep() {
  try {
    // Another page of the same rater may have gone on meanwhile: no answer of it is lost.
    const other = JSON.parse(localStorage.getItem(KEY) || "{}");
    if (!served && other.rater === kept.rater) {
      const mine = new Map(kept.votes.map(vote => [vote.vote, vote]));
      for (const vote of other.votes || []) {
        const same = mine.get(vote.vote);
        if (!same) kept.votes.push(vote);
        else same.undone = same.undone || vote.undone;
      }
    }
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    keeps = false;
  }
}

function randomId() {
  if (crypto.randomUUID) return crypto.randomUUID(); // only where the page came by HTTPS or from this machine
  return [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");
}

function say(text, wrong = false) {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
}

function show(name) {
  view = name;
  for (const one of views) at(one).hidden = one !== name;
  at("handing").hidden = served || !(name === "paused" || name === "end");
  if (name !== "pair") clips.forEach(clip => clip.pause && clip.pause());
  at(`${name}-heading`).focus({ preventScroll: true });
}

function allow(yes) {
  busy = !yes;
  for (const button of buttons) button.disabled = busy;
  at("undo").disabled = at("undo-end").disabled = busy || !last();
}

// The state of the answers

const live = () => kept.votes.filter(vote => !vote.undone);
const positions = () => data.slots[kept.slot - 1];

// The first question without an answer, as [position, question], both counted from 0; null when there is none.
function next() {
  const answered = new Set(live().map(vote => `${vote.position} ${vote.question}`));
  for (let place = 0; place < positions().length; place++) {
    for (let number = 0; number < data.questions.length; number++) {
      if (!answered.has(`${place + 1} ${data.questions[number].name}`)) return [place, number];
    }
  }
  return null;
}

// The answer before that, which can be taken back.
function last() {
  if (!kept.slot) return null;
  const order = vote => vote.position * 1000 + data.questions.findIndex(one => one.name === vote.question);
  return live().reduce((best, vote) => (!best || order(vote) > order(best) ? vote : best), null);
}

const round = (position, question) =>
  kept.votes.filter(vote => vote.undone && vote.position === position && vote.question === question).length;

// What the server is asked

// Ask until there is an answer: a server that is away or busy comes back. What it refuses is an error.
async function ask(path, said) {
  const body = JSON.stringify({ plan: data.plan, rater: kept.rater, ...said });
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await fetch(`api/${path}${location.search}`, {
        method: "POST", headers: { "content-type": "application/json" }, body, signal: AbortSignal.timeout(20000),
      });
      if (answer.ok) {
        const found = await answer.json();
        if (attempt) say("Saved.");
        return found;
      }
      if (answer.status < 500) {
        const refusal = await answer.json().catch(() => ({}));
        throw new Refused(refusal.error || `the server answered ${answer.status}`);
      }
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    say("Not saved yet: the server does not answer. Your answer is kept here, and this page tries again by itself.", true);
    await pause(WAITS_MS[Math.min(attempt, WAITS_MS.length - 1)]);
  }
}

class Refused extends Error {}

async function join() {
  if (!served) return;
  const found = await ask("join", {});
  kept.slot = found.slot;
  kept.votes = found.answers;
  keep();
}

// Store a vote; a page that was closed before the server confirmed it sends the same one again.
async function store(vote) {
  if (served) {
    kept.pending = vote;
    keep();
    const { undone, ...said } = vote;
    const { stored } = await ask("vote", said);
    vote.answer = stored; // another page of this rater may have been first
    kept.pending = null;
  }
  kept.votes.push(vote);
  keep();
}

async function takeBack() {
  const vote = last();
  if (busy || !vote || !["pair", "end"].includes(view)) return;
  allow(false);
  try {
    if (served) await ask("undo", { vote: vote.vote });
    vote.undone = true;
    keep();
    say("Taken back.");
  } catch (error) {
    return refuse(error);
  }
  advance();
}

async function answer(name) {
  if (busy || view !== "pair") return;
  const taken = Math.round(performance.now() - shownAt);
  allow(false);
  const [place, number] = next();
  const question = data.questions[number].name;
  const [left, right] = positions()[place];
  const vote = {
    vote: randomId(), position: place + 1, question, round: round(place + 1, question), left, right, answer: name,
    milliseconds: taken >= 0 && taken < 3600000 ? taken : null,
  };
  try {
    say(served ? "Saving…" : "");
    await store(vote);
    say("");
  } catch (error) {
    return refuse(error);
  }
  advance();
}

function refuse(error) {
  say(`This was refused: ${error.message}.`, true);
}

// What is shown

function advance() {
  const following = next();
  if (!following) {
    at("end-text").textContent = served
      ? "All your answers are stored. You may close this page."
      : "Please save your answers as a file, and hand it over.";
    show("end");
    allow(true);
    return;
  }
  present(...following);
}

function present(place, number) {
  const [left, right, prompt] = positions()[place];
  const pairs = positions().length;
  at("pair-heading").textContent = `Pair ${place + 1} of ${pairs}`;
  at("progress").max = pairs;
  at("progress").value = place;
  at("prompt").textContent = data.prompts[prompt];
  const many = data.questions.length > 1 ? `Question ${number + 1} of ${data.questions.length}: ` : "";
  at("question").textContent = many + data.questions[number].text;
  if (view !== "pair") show("pair");
  const same = clips.length && clips[0].dataset.file === left && clips[1].dataset.file === right;
  if (!same) mount(left, right);
  at("pair-heading").focus({ preventScroll: true });
  settle(++turn);
}

// Take answers once both can be seen, and not in the instant in which the pair appears.
async function settle(mine) {
  allow(false);
  await pause(GUARD_MS);
  const seen = await Promise.all(clips.map(clip => clip.ready));
  if (mine !== turn || view !== "pair") return;
  const lost = clips.filter((clip, index) => !seen[index]).map(clip => clip.dataset.file);
  if (lost.length) {
    say(`${lost.join(" and ")} cannot be shown. Press "Play both again", and if that does not help tell who sent you the link.`, true);
    return;
  }
  shownAt = performance.now();
  allow(true);
  if (!still.matches) play();
}

function mount(left, right) {
  clips = [["left", left], ["right", right]].map(([side, file]) => {
    const clip = document.createElement(data.medium === "image" ? "img" : "video");
    clip.dataset.file = file;
    if (data.medium === "image") {
      clip.alt = `The ${side} image`;
      clip.ready = new Promise(done => { clip.onload = () => done(true); clip.onerror = () => done(false); });
    } else {
      clip.muted = clip.playsInline = true;
      clip.preload = "auto";
      clip.setAttribute("aria-label", `The ${side} clip, without sound`);
      clip.ready = new Promise(done => {
        clip[still.matches ? "onloadedmetadata" : "oncanplay"] = () => done(true);
        clip.onerror = () => done(false);
      });
      clip.onended = () => { if (clips.every(one => one.ended) && !still.matches) play(); };
    }
    clip.src = `videos/${file}${location.search}`;
    at(side).replaceChildren(clip);
    if (clip.play && !still.matches) clip.play().catch(() => {}); // some phones load nothing before
    return clip;
  });
  at("replay").hidden = data.medium === "image";
}

// Both from their beginning, together; they loop when both have ended.
function play() {
  for (const clip of clips) {
    if (!clip.play) continue;
    clip.currentTime = 0;
    clip.play().catch(() => {}); // a browser that plays nothing by itself waits for the key
  }
}

function replay() {
  if (view !== "pair") return;
  if (clips.some(clip => clip.error)) {
    mount(...clips.map(clip => clip.dataset.file));
    settle(++turn);
    return;
  }
  play();
}

// Name what is missing before the first pair is judged.
async function missing() {
  const files = [...new Set(positions().flatMap(([left, right]) => [left, right]))];
  const lost = [];
  let done = 0;
  const check = async file => {
    const clip = document.createElement(data.medium === "image" ? "img" : "video");
    clip.preload = "metadata";
    clip.muted = true;
    const there = await new Promise(answer => {
      clip.onload = clip.onloadedmetadata = () => answer(true);
      clip.onerror = () => answer(false);
      clip.src = `videos/${file}${location.search}`;
    });
    if (data.medium !== "image") { clip.removeAttribute("src"); clip.load(); }
    if (!there) lost.push(file);
    say(`Checking what will be shown: ${++done} of ${files.length}`);
  };
  const waiting = [...files];
  await Promise.all(Array.from({ length: 4 }, async () => { while (waiting.length) await check(waiting.shift()); }));
  return lost;
}

async function begin() {
  at("agree").disabled = true;
  try {
    if (!served) {
      const number = Number((at("place").value || location.hash.replace("#slot=", "")).trim());
      if (!kept.slot && !(Number.isInteger(number) && number >= 1 && number <= data.slots.length)) {
        say(`Your number is one from 1 to ${data.slots.length}.`, true);
        return;
      }
      kept.slot = kept.slot || number;
    }
    await join();
    const lost = await missing();
    if (lost.length) {
      say(`${lost[0]} is missing${lost.length > 1 ? `, and ${lost.length - 1} more` : ""}. Please tell who sent you the link.`, true);
      return;
    }
    kept.agreed = true;
    keep();
    await resume();
  } catch (error) {
    say(error instanceof Refused ? error.message : String(error), true);
  } finally {
    at("agree").disabled = false;
  }
}

// Go on where the rater stopped, with the answer that was on its way.
async function resume() {
  try {
    await join();
    const vote = kept.pending;
    if (vote && !kept.votes.some(one => one.vote === vote.vote)) await store(vote);
    kept.pending = null;
    keep();
  } catch (error) {
    say(error instanceof Refused ? error.message : String(error), true);
    return;
  }
  say(keeps || served ? "" : "This browser keeps nothing: save your answers before you close this page.", !keeps && !served);
  advance();
}

function save() {
  const votes = kept.votes.map(({ undone, ...vote }) => vote);
  const undone = kept.votes.filter(vote => vote.undone).map(vote => vote.vote);
  const said = { format: FORMAT, version: 1, plan: data.plan, rater: kept.rater, slot: kept.slot, votes, undone };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(said, null, 1)], { type: "application/json" }));
  link.download = `votes-${kept.slot}-${kept.rater.slice(0, 8)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function pressed(event) {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.altKey || event.metaKey || event.repeat || view !== "pair") return;
  if (KEYS[event.key]) answer(KEYS[event.key]);
  else if (event.key.toLowerCase() === "r") replay();
  else if (event.key.toLowerCase() === "u") takeBack();
  else return;
  event.preventDefault(); // arrows scroll nothing
}

function started() {
  load();
  at("consent").textContent = data.consent;
  const linked = Number(location.hash.replace("#slot=", ""));
  at("place-row").hidden = served || Boolean(kept.slot) || (linked >= 1 && linked <= data.slots.length);
  for (const button of buttons) button.addEventListener("click", () => answer(button.dataset.answer));
  for (const id of ["undo", "undo-end"]) at(id).addEventListener("click", takeBack);
  at("agree").addEventListener("click", begin);
  at("replay").addEventListener("click", replay);
  at("pause").addEventListener("click", () => { turn++; show("paused"); });
  at("resume").addEventListener("click", resume);
  at("save").addEventListener("click", save);
  document.addEventListener("keydown", pressed);
  // A page that comes back as it was left may be behind what was answered since.
  addEventListener("pageshow", event => { if (event.persisted) location.reload(); });
  if (kept.agreed) resume();
  else show("start");
}

started();
