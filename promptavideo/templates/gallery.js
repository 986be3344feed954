// The gallery; player.js comes before it. Every text is set as text, never as HTML. Rows are filled, and their videos loaded, when they are near
// the window, and emptied of videos again when they are far, so that thousands of videos do not burden the page.
"use strict";

(() => {
  const AROUND = "150%"; // of the window's height, within which rows are filled
  const EVERY = "all";

  const data = JSON.parse(document.getElementById("data").textContent);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const field = (name) => document.getElementById(name);
  const fields = { group: field("group"), words: field("words"), refiner: field("refiner"), order: field("order"), heldout: field("heldout"), scores: field("scores") };
  const main = field("rows");

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const signed = (value, digits = 2) => {
    const size = Math.abs(value).toFixed(digits);
    return Number(size) === 0 ? size : (value < 0 ? "\u2212" : "+") + size;
  };
  const outcome = (difference) => (difference > 0 ? "won" : difference < 0 ? "lost" : "even");
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);
  const spread = (values) => {
    const centre = mean(values);
    return Math.sqrt(mean(values.map((value) => (value - centre) ** 2))) || 1;
  };

  // What a row knows of a refiner and of a judge; NaN where its group has none of the name.
  const groupOf = (row) => data.groups[row.group];
  const place = (row, refiner) => groupOf(row).refiners.indexOf(refiner);
  const baseline = (row) => row.cells[place(row, "original")];
  const gain = (row, refiner) => {
    const cell = row.cells[place(row, refiner)];
    return cell && baseline(row) ? cell.avg - baseline(row).avg : NaN;
  };
  const heldOutGain = (row, refiner, judge) => {
    const cell = row.cells[place(row, refiner)];
    const index = groupOf(row).heldOut.indexOf(judge);
    return cell && baseline(row) && index >= 0 ? cell.heldOut[index] - baseline(row).heldOut[index] : NaN;
  };

  const views = new Map(); // row -> { article, player, filled }

  const address = (row) => `${groupOf(row).track}/${groupOf(row).set}/${row.id}`;

  function view(row) {
    if (!views.has(row)) {
      const article = element("article", { tabIndex: -1 });
      article.setAttribute("aria-label", `Prompt: ${row.prompt.slice(0, 200)}`);
      article.dataset.row = address(row);
      views.set(row, { row, article, player: null, seen: false });
      rowOf.set(article, row);
      seen.observe(article);
      near.observe(article);
    }
    return views.get(row);
  }

  function fill(one) {
    if (one.player) return;
    const { row, article } = one;
    const group = groupOf(row);
    const where = element("span", { className: "where" }, `${group.track} · ${group.set} · ${row.id}`);
    const toggle = element("button", { type: "button" }, "play");
    const replay = element("button", { type: "button" }, "replay");
    const link = element("a", { href: `#row=${encodeURIComponent(address(row))}` }, "link");
    link.setAttribute("aria-label", "link to this prompt");
    const heading = element("h2", { dir: "auto" }, row.prompt);
    const head = element("div", { className: "head" }, heading, where);
    if (group.medium === "video") head.append(toggle, replay);
    head.append(link);
    const cells = element("div", { className: "cells" });
    const videos = [];
    row.cells.forEach((cell, index) => cells.append(drawn(row, cell, group.refiners[index], videos)));
    article.replaceChildren(head, cells);
    one.player = new Player(videos, group.medium === "video" ? toggle : null);
    toggle.addEventListener("click", () => one.player.toggle());
    replay.addEventListener("click", () => one.player.play());
  }

  function drawn(row, cell, refiner, videos) {
    const group = groupOf(row);
    const difference = gain(row, refiner);
    const screen = element("div", { className: "screen" });
    const named = `${refiner}: ${cell.text.map(([piece]) => piece).join("").slice(0, 150)}`;
    if (group.medium === "video") {
      const video = element("video", { muted: true, playsInline: true, preload: "auto", poster: data.posters[cell.file] });
      video.dataset.file = `videos/${cell.file}`;
      video.setAttribute("aria-label", named);
      video.addEventListener("loadedmetadata", () => screen.style.setProperty("--shape", video.videoWidth / video.videoHeight || 1));
      video.addEventListener("error", () => {
        if (video.hasAttribute("src")) screen.append(element("p", {}, `${video.dataset.file} is missing or cannot be played`));
      });
      videos.push(video);
      screen.append(video);
    } else {
      const image = element("img", { alt: named, loading: "lazy", src: `videos/${cell.file}` });
      image.addEventListener("load", () => screen.style.setProperty("--shape", image.naturalWidth / image.naturalHeight || 1));
      image.addEventListener("error", () => screen.append(element("p", {}, `videos/${cell.file} is missing or cannot be shown`)));
      screen.append(image);
    }
    const head = element("div", {}, element("h3", {}, refiner));
    const average = element("p", { className: "avg" }, `avg ${cell.avg.toFixed(2)} `);
    if (refiner !== "original" && !Number.isNaN(difference)) {
      average.append(element("span", { className: outcome(difference) }, signed(difference)));
    }
    const text = element("p", { className: "text", dir: "auto", tabIndex: 0 });
    text.setAttribute("aria-label", `text of ${refiner}`);
    for (const [piece, added] of cell.text) text.append(added ? element("mark", {}, piece) : piece);
    const texts = element("div", {}, text);
    if (cell.negative !== null) texts.append(element("p", { className: "text", dir: "auto" }, `negative: ${cell.negative}`));
    const whole = element("section", { className: "cell" }, head, screen, average, texts, scoreTable(row, cell, refiner));
    whole.setAttribute("aria-label", refiner);
    return whole;
  }

  function scoreTable(row, cell, refiner) {
    const group = groupOf(row);
    const table = element("table", {}, element("caption", { className: "visually-hidden" }, `scores of ${refiner}`));
    const line = (name, value, reference, title) => {
      const cells = [element("th", { scope: "row", title }, name), element("td", { className: "number" }, value.toFixed(2))];
      if (refiner !== "original" && baseline(row)) {
        const said = signed(value - reference);
        const seen = Number(said) === 0 ? "even" : outcome(value - reference); // no colour for what rounds to nothing
        cells.push(element("td", { className: `number ${seen}` }, said));
      }
      table.append(element("tr", {}, ...cells));
    };
    group.metrics.forEach((name, index) => line(name, cell.scores[index], baseline(row)?.scores[index], "reward, 0 to 5"));
    group.heldOut.forEach((name, index) => line(`${name} (held out)`, cell.heldOut[index], baseline(row)?.heldOut[index], "nobody trained on it"));
    return table;
  }

  const rowOf = new Map();
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const one = views.get(rowOf.get(entry.target));
      if (entry.isIntersecting) {
        fill(one);
        one.player.load();
      } else if (one.player) {
        one.player.unload();
      }
    }
  }, { rootMargin: `${AROUND} 0px` });
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const one = views.get(rowOf.get(entry.target));
      one.seen = entry.isIntersecting;
      if (one.seen) {
        fill(one);
        if (!still.matches && !stopped) one.player.play();
      } else if (one.player) {
        one.player.stop();
      }
    }
  });

  let order = [];
  let current = -1;
  let stopped = false; // whether the reader has stopped all videos by a key

  function chosen() {
    const words = fields.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = data.rows.filter((row) => {
      if (fields.group.value !== EVERY && row.group !== Number(fields.group.value)) return false;
      row.searched ??= [row.prompt, ...row.cells.flatMap((cell) => cell.text.map(([piece]) => piece).join(""))].join("\n").toLowerCase();
      return words.every((word) => row.searched.includes(word));
    });
    const refiner = fields.refiner.value;
    const gains = new Map(rows.map((row) => [row, gain(row, refiner)]));
    if (fields.order.value === "disagreement") {
      const known = rows.filter((row) => !Number.isNaN(heldOutGain(row, refiner, fields.heldout.value)));
      const held = new Map(known.map((row) => [row, heldOutGain(row, refiner, fields.heldout.value)]));
      const [one, other] = [spread(known.map((row) => gains.get(row))), spread([...held.values()])];
      return sorted(rows, (row) => -(gains.get(row) / one - held.get(row) / other));
    }
    if (fields.order.value === "gain") return sorted(rows, (row) => -gains.get(row));
    if (fields.order.value === "loss") return sorted(rows, (row) => gains.get(row));
    return rows;
  }

  // Rows without a value come last; equal ones keep their order.
  function sorted(rows, value) {
    const keyed = rows.map((row) => [row, value(row)]);
    keyed.sort(([, one], [, other]) => (Number.isNaN(one) - Number.isNaN(other)) || (one - other) || 0);
    return keyed.map(([row]) => row);
  }

  function update() {
    order = chosen();
    current = -1;
    main.replaceChildren(...order.map((row) => view(row).article));
    main.querySelectorAll("article.current").forEach((article) => article.classList.remove("current"));
    field("shown").textContent = `${order.length} of ${data.rows.length} prompts.`;
    main.classList.toggle("hide-scores", !fields.scores.checked);
    tally();
  }

  function tally() {
    const table = element("table");
    const names = ["track", "set", "refiner", "prompts", "wins", "losses", "even", "mean avg", "mean difference"];
    table.append(element("tr", {}, ...names.map((name, index) => element("th", { scope: "col", className: index > 2 ? "number" : "" }, name))));
    data.groups.forEach((group, index) => {
      const rows = data.rows.filter((row) => row.group === index);
      group.refiners.forEach((refiner, where) => {
        const gains = rows.map((row) => gain(row, refiner));
        const count = (kind) => gains.filter((value) => outcome(value) === kind).length;
        const compared = refiner !== "original" && gains.every((value) => !Number.isNaN(value));
        const numbers = [
          rows.length,
          ...(compared ? [count("won"), count("lost"), count("even")] : ["", "", ""]),
          mean(rows.map((row) => row.cells[where].avg)).toFixed(3),
          compared ? signed(mean(gains), 3) : "",
        ];
        table.append(element("tr", {},
          ...[group.track, group.set, refiner].map((text) => element("td", {}, text)),
          ...numbers.map((number) => element("td", { className: "number" }, String(number)))));
      });
    });
    field("tally").replaceChildren(table);
  }

  function go(index) {
    if (!order.length) return;
    if (order[current]) view(order[current]).article.classList.remove("current");
    current = Math.min(Math.max(index, 0), order.length - 1);
    const one = view(order[current]);
    fill(one);
    one.article.classList.add("current");
    one.article.focus({ preventScroll: true });
    one.article.scrollIntoView({ block: "start" });
  }

  // The address holds what is chosen and, behind `row`, the row that a link names.
  function remember() {
    const state = new URLSearchParams();
    if (fields.group.value !== EVERY) {
      const group = data.groups[Number(fields.group.value)];
      state.set("group", `${group.track}/${group.set}`);
    }
    if (fields.words.value) state.set("words", fields.words.value);
    if (fields.order.value !== "id") {
      state.set("order", fields.order.value);
      state.set("refiner", fields.refiner.value);
      if (fields.order.value === "disagreement") state.set("heldout", fields.heldout.value);
    }
    history.replaceState(null, "", `#${state}`);
  }

  function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    const named = data.groups.findIndex((group) => `${group.track}/${group.set}` === state.get("group"));
    if (named >= 0) fields.group.value = String(named);
    if (state.has("words")) fields.words.value = state.get("words");
    for (const name of ["order", "refiner", "heldout"]) {
      const known = [...fields[name].options].some((option) => option.value === state.get(name));
      if (known) fields[name].value = state.get(name);
    }
    update();
    const row = state.get("row");
    const index = order.findIndex((one) => address(one) === row);
    if (index >= 0) go(index);
    else if (row) field("shown").textContent = `There is no prompt ${row} here. ${field("shown").textContent}`;
  }

  const options = (select, values) => select.append(...values.map(([value, text]) => element("option", { value }, text)));
  const every = (name) => [...new Set(data.groups.flatMap((group) => group[name]))];
  options(fields.group, [[EVERY, "all"], ...data.groups.map((group, index) => [String(index), `${group.track} · ${group.set}`])]);
  const refiners = every("refiners").filter((name) => name !== "original");
  options(fields.refiner, refiners.map((name) => [name, name]));
  if (refiners.length) fields.refiner.value = refiners[refiners.length - 1];
  const judges = every("heldOut");
  options(fields.heldout, judges.map((name) => [name, name]));
  if (!judges.length) {
    fields.order.querySelector("[value=disagreement]").remove();
    fields.heldout.closest("label").remove();
  }

  for (const one of Object.values(fields)) {
    one.addEventListener(one === fields.words ? "input" : "change", () => {
      remember();
      update();
    });
  }
  field("choices").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", recall);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const playing = order.length ? view(order[Math.max(current, 0)]).player : null;
    const act = {
      n: () => go(current + 1),
      p: () => go(current - 1),
      r: () => playing?.play(),
      s: () => {
        stopped = !stopped;
        for (const one of views.values()) if (one.player) stopped ? one.player.stop() : one.seen && one.player.play();
      },
      "/": () => fields.words.focus(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  recall();
})();
