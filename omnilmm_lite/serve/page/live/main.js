/** Puts the live page together. */

import { find, say } from "../dom.js";
import { Api, ApiError } from "../server/api.js";
import { Key } from "../server/key.js";
import { Choice } from "../settings/choice.js";
import { wireTheme } from "../theme.js";
import { Camera } from "./camera.js";
import { Composer } from "./composer.js";
import { Meter } from "./meter.js";
import { Microphone } from "./microphone.js";
import { hasOwnEars, OwnEars } from "./own-ears.js";
import { Session } from "./session.js";
import { Timeline } from "./timeline.js";
import { Transcript } from "./transcript.js";
import { Voice } from "./voice.js";

/** @typedef {"idle" | "starting" | "watching" | "paused" | "lost"} State */

const api = new Api(new Key());
const view = find(document, "#view", HTMLElement);
const start = find(document, "#start", HTMLButtonElement);
const pause = find(document, "#pause", HTMLButtonElement);
const stop = find(document, "#stop-watching", HTMLButtonElement);
const always = find(document, "#always", HTMLInputElement);
const speaks = find(document, "#speaks", HTMLInputElement);
const every = find(document, "#every", HTMLSelectElement);
const save = find(document, "#save", HTMLButtonElement);
const withFrames = find(document, "#with-frames", HTMLInputElement);

const transcript = new Transcript();
const timeline = new Timeline((time_s) => transcript.date(time_s));
const meter = new Meter();
const voice = new Voice();
const choice = new Choice("settings"); // how answers are drawn: as the chat page has it
const session = new Session(api, told, lost);
const camera = new Camera(find(document, "#video", HTMLVideoElement), (frame) => session.frame(frame), () => {
  end();
  trouble("The picture has ended: the camera was taken away, or the screen isn’t shared any more.");
});
const microphone = new Microphone(
  (pcm, rate, ends) => session.sound(pcm, rate, ends),
  (cancelsEcho) => cancelsEcho || !voice.isSpeaking,
);
const ownEars = new OwnEars((text) => ask(text, true));
const composer = new Composer({ ask: (text) => ask(text, false), hush, talk });

/** @type {import("./session.js").Facts | null} */
let facts = null;
let hasEarsHere = false; // the browser's own, on this machine

wireTheme();
start.addEventListener("click", begin);
stop.addEventListener("click", end);
pause.addEventListener("click", () => show(state() === "paused" ? "watching" : "paused"));
always.addEventListener("change", listen);
save.addEventListener("click", () => download(transcript.file(withFrames.checked)));
addEventListener("pagehide", end);
globalThis.speechSynthesis?.addEventListener("voiceschanged", showSenses);
show("idle");
learn();

/** What the server and this browser can do. */
async function learn() {
  try {
    facts = await Session.facts(api);
    choice.startFrom((await api.model()).sampling);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return trouble(error.message);
  }
  hasEarsHere = facts.ears === "none" && (await hasOwnEars());
  find(document, "#model", HTMLElement).textContent = facts.model;
  showSenses();
}

function showSenses() {
  const hasEars = facts !== null && (facts.ears !== "none" || hasEarsHere);
  const hasVoice = facts !== null && (facts.voice !== "none" || Voice.own() !== null);
  composer.canTalk = hasEars;
  always.disabled = !hasEars;
  speaks.disabled = !hasVoice || state() !== "idle";
  const ears = !hasEars ? "no ears: start the server with --ears" : hasEarsHere ? "by this browser, on this machine" : `by the server’s ${facts?.ears.split(":")[0]}`;
  const said = !hasVoice ? "no voice: start the server with --voice" : facts?.voice !== "none" ? "by the server’s voice" : "by a voice of this machine";
  find(document, "#always-hint", HTMLElement).textContent = facts ? ears : "";
  find(document, "#speaks-hint", HTMLElement).textContent = facts ? said : "";
}

async function begin() {
  trouble("");
  if (!facts) await learn();
  if (!facts) return;
  voice.isOn = speaks.checked && !speaks.disabled;
  show("starting");
  const source = find(document, "input[name=source]:checked", HTMLInputElement).value === "screen" ? "screen" : "camera";
  voice.open();
  const line = await camera.open(source);
  if (state() !== "starting") return camera.close(); // stopped while the browser asked
  if (line) {
    show("idle");
    return trouble(line);
  }
  listen();
  const wishes = { ...choice.request(), source, speaks: voice.isOn && facts.voice !== "none", every_s: Number(every.value) };
  delete wishes.max_tokens; // an answer is said aloud: the server keeps it short
  try {
    await session.run(() => wishes);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    end();
    trouble(error.message);
  }
}

function end() {
  if (state() === "idle") return;
  session.end();
  camera.close();
  microphone.close();
  ownEars.isListening = false;
  voice.hush();
  timeline.breakOff();
  show("idle");
}

/** Opens the microphone where it is to hear always. */
async function listen() {
  if (state() === "idle") return;
  microphone.isAlways = always.checked;
  if (hasEarsHere) ownEars.isListening = always.checked && state() !== "paused";
  else if (always.checked) {
    const line = await microphone.open();
    if (state() === "idle") return microphone.close();
    if (line) always.checked = microphone.isAlways = false;
    trouble(line);
  }
}

/** The button that one talks with went down or came up. @param {boolean} held @returns {Promise<boolean>} whether it hears */
async function talk(held) {
  if (state() === "idle") {
    if (held) trouble("Start watching first: a question is about what is seen.");
    return false;
  }
  if (held) hush();
  if (hasEarsHere) {
    ownEars.isListening = held || always.checked;
    return held;
  }
  if (held) {
    const line = await microphone.open();
    if (state() === "idle") microphone.close();
    else trouble(line);
    if (line || state() === "idle") return false;
  }
  microphone.isHeld = held;
  return held;
}

/** @param {string} text @param {boolean} spoken */
async function ask(text, spoken) {
  if (state() === "idle") return trouble("Start watching first: a question is about what is seen.");
  trouble(await session.ask(text, spoken));
}

/** Ends the answer under way and what is being said. */
function hush() {
  voice.hush();
  if (session.isOpen) session.interrupt();
}

/** @param {import("./session.js").LiveEvent} event */
function told(event) {
  const isFirst = transcript.isEmpty;
  const moved = transcript.take(event);
  switch (event.event) {
    case "opened": return;
    case "session_began":
      if (state() === "lost" && !isFirst) timeline.note("The server is back. It has forgotten what it saw before.");
      if (state() !== "paused") show("watching");
      save.disabled = withFrames.disabled = false;
      return;
    case "status_changed": return meter.show(event.status);
    case "sound": return voice.play(event.rate, event.pcm);
    case "silence": return voice.hush();
    case "answer_piece":
      if (facts?.voice === "none") voice.say(moved.question_id, event.text);
      break;
    case "answer_ended":
      if (facts?.voice === "none") voice.finish(moved.question_id, event.interrupted);
      break;
    case "question_asked":
      if (event.spoken && facts?.voice === "none") voice.hush();
      break;
    default:
  }
  timeline.show(moved);
}

/** @param {string} line */
function lost(line) {
  if (state() !== "lost") timeline.note(line, true);
  timeline.breakOff();
  voice.hush();
  show("lost");
}

/** @returns {State} */
function state() {
  return /** @type {State} */ (view.dataset.state);
}

/** @param {State} next */
function show(next) {
  view.dataset.state = next;
  const isIdle = next === "idle";
  start.hidden = !isIdle;
  stop.hidden = isIdle;
  pause.hidden = next !== "watching" && next !== "paused";
  camera.isPaused = microphone.isPaused = next === "paused";
  if (hasEarsHere) ownEars.isListening = always.checked && next === "watching";
  find(pause, "span", HTMLElement).textContent = next === "paused" ? "Go on" : "Pause";
  const words = { idle: "", starting: "Starting", watching: "Live", paused: "Paused", lost: "Connecting" };
  find(document, "#badge", HTMLElement).textContent = words[next];
  every.disabled = !isIdle;
  for (const each of document.querySelectorAll("input[name=source]")) /** @type {HTMLInputElement} */ (each).disabled = !isIdle;
  composer.canHush = !isIdle;
  showSenses();
}

/** @param {string} line */
function trouble(line) {
  say(find(document, "#trouble", HTMLElement), line);
}

/** @param {Blob} file */
function download(file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `live-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
