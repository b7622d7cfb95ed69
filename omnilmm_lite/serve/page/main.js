/** Puts the page together. */

import { Api, ApiError } from "./api.js";
import { Camera } from "./camera.js";
import { Chat } from "./chat.js";
import { wireExamples } from "./examples.js";
import { Frame } from "./frame.js";
import { Key } from "./key.js";
import { Settings } from "./settings.js";
import { Status } from "./status.js";
import { wireTheme } from "./theme.js";

const api = new Api(new Key());
const settings = new Settings();
const status = new Status(api, connect);
const chat = new Chat(api, settings, status);
const frame = new Frame((picture) => chat.setPicture(picture));

wireTheme();
new Camera((blob, name) => frame.take(blob, name));
wireExamples(
  async (blob, name, question) => {
    if (await frame.take(blob, name)) chat.ask(question);
  },
  (line) => frame.refuse(line),
);
connect();

/** Learns the model's defaults, now and whenever the server comes back, perhaps with another model. */
async function connect() {
  try {
    settings.startFrom(await api.model());
    status.refresh();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // an ApiError shows in the status, which keeps trying
  }
}
