/** Puts the page together. */

import { Chat } from "./chat/chat.js";
import { Conversation } from "./chat/conversation.js";
import { find, say } from "./dom.js";
import { wireExport } from "./export/menu.js";
import { Drawer } from "./history/drawer.js";
import { Keeper } from "./history/keeper.js";
import { Camera } from "./picture/camera.js";
import { wireExamples } from "./picture/examples.js";
import { Frame } from "./picture/frame.js";
import { Api, ApiError } from "./server/api.js";
import { Key } from "./server/key.js";
import { Status } from "./server/status.js";
import { Settings } from "./settings/settings.js";
import { forgetTheme, wireTheme } from "./theme.js";

/** @typedef {import("./history/shelf.js").News} News */

const api = new Api(new Key());
const settings = new Settings();
const status = new Status(api, connect);
const keeper = new Keeper({ said: sayKeeping, heard, gone });
const chat = new Chat({ api, settings, status, keeper, pictureChanged: (picture) => frame.show(picture) });
const frame = new Frame({
  mayChange: (next) => chat.mayEnd(next ? "Another picture?" : "Without a picture?", next
    ? `The model looks at one picture a conversation: a new conversation begins with ${next}.`
    : "A new conversation begins without a picture."),
  changed: (picture) => chat.setPicture(picture),
  preview: (url) => api.preview(url),
});
const drawer = new Drawer(keeper.shelf, {
  shown: () => chat.conversation.id,
  open,
  rename: async (id, title) => {
    if (id !== chat.conversation.id) return keeper.shelf.rename(id, title);
    chat.rename(title);
    await keeper.keep(chat.conversation);
  },
  delete: async (id) => {
    await keeper.shelf.delete(id);
    if (id === chat.conversation.id) chat.replace(new Conversation(null));
  },
  forget,
});

wireTheme();
wireExport(() => chat.conversation);
new Camera((blob, name) => frame.take(blob, name));
wireExamples(
  async (blob, name, question) => {
    // an example brings its question, so it begins at once where nothing is lost by it
    if (await frame.take(blob, name, !chat.wouldBeLost)) chat.ask(question);
  },
  (line) => frame.refuse(line),
);
addEventListener("pageshow", (event) => {
  if (event.persisted) catchUp(); // what other tabs said meanwhile wasn't heard
});
connect();
restore();

/** Learns the model's defaults, now and whenever the server comes back, perhaps with another model. */
async function connect() {
  try {
    settings.startFrom(await api.model());
    status.refresh();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // an ApiError shows in the status, which keeps trying
  }
}

/** What was there before the page was left. */
async function restore() {
  const last = await keeper.last();
  const { turns, picture } = chat.conversation;
  if (last && !turns.length && !picture) chat.replace(last);
}

/** @param {string} id */
async function open(id) {
  if (id === chat.conversation.id) return;
  const title = "Open another conversation?";
  if (chat.wouldBeLost && !(await chat.mayEnd(title, "It takes the place of the one that is shown."))) return;
  const conversation = await keeper.open(id);
  if (conversation) chat.replace(conversation);
}

/** Shows what another tab has made of this conversation, unless this tab is in the middle of it. */
async function catchUp() {
  const { id, revision } = chat.conversation;
  if (chat.isRunning || !revision) return;
  const newer = await keeper.open(id);
  const { conversation } = chat; // a later look may have been quicker
  if (newer && id === conversation.id && newer.revision > conversation.revision && !chat.isRunning) chat.replace(newer);
}

/** @param {News} news */
function heard(news) {
  const { id, revision } = chat.conversation;
  if (news.kind === "forgot") forgotten();
  else if (news.id === id && news.kind === "deleted") gone(chat.conversation);
  else if (news.id === id && news.revision > revision) catchUp();
  drawer.refresh();
}

/** Another tab has deleted it. @param {Conversation} conversation */
function gone(conversation) {
  if (conversation !== chat.conversation) return;
  chat.replace(new Conversation(null));
  sayKeeping("The conversation that was here was deleted in another tab.");
}

async function forget() {
  chat.stop();
  await keeper.forget();
  forgotten();
}

/** Nothing is left of what the browser kept. */
function forgotten() {
  settings.forget();
  forgetTheme();
  api.forgetKey();
  chat.replace(new Conversation(null));
  sayKeeping("");
}

/** @param {string} line */
function sayKeeping(line) {
  say(find(document, "#keeping", HTMLElement), line);
}
