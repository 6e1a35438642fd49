/** Whether the server answers. While it does not, everybody waits for the same next try. */

import { button, element } from "./dom.js";

const FIRST_PAUSE = 0.5;
const LONGEST_PAUSE = 5;
const GONE = "The server does not answer. The page goes on as soon as it does.";

export class Connection extends EventTarget {
  #banner;
  #failures = 0;
  #next = null;
  #waiting = 0;

  /** `banner` is the element, a live region, that says what is wrong. */
  constructor(banner) {
    super();
    this.#banner = banner;
  }

  /** The server has answered. Whoever listens for `back` hears when it had not before. */
  found() {
    if (this.#failures === 0) return;
    this.#failures = 0;
    this.#banner.replaceChildren();
    this.dispatchEvent(new Event("back"));
  }

  /** Resolves when a call that found nobody is to be tried again; rejects when it is given up. */
  gone(signal) {
    return this.#pause(GONE, 0, signal);
  }

  /** As `gone`, for a server that asks to be called again after so many seconds, and says why. */
  refused(reason, seconds, signal) {
    const words = reason.replace(/; try again in .*/, "");
    return this.#pause(`The server takes nothing for now: ${words}.`, seconds, signal);
  }

  async #pause(words, atLeast, signal) {
    signal?.throwIfAborted();
    this.#next ??= this.#begun(words, atLeast);
    const next = this.#next;
    this.#waiting += 1;
    try {
      await Promise.race([next.over, abortion(signal)]);
      if (this.#next === next) this.#next = null;
    } finally {
      this.#waiting -= 1;
      if (signal?.aborted && this.#waiting === 0) this.#forget();
    }
  }

  #begun(words, atLeast) {
    const backoff = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures);
    this.#failures += 1;
    const countdown = new Countdown(Math.max(atLeast, backoff * (0.75 + Math.random() / 2)));
    this.#show(words, countdown);
    return countdown;
  }

  /** Nobody waits any more. */
  #forget() {
    this.#next?.end();
    this.#next = null;
    this.#banner.replaceChildren();
  }

  #show(words, countdown) {
    const said = this.#banner.querySelector("p");
    if (said?.textContent !== words) this.#banner.replaceChildren(element("p", {}, words));
    else while (said.nextSibling) said.nextSibling.remove();
    this.#banner.append(
      countdown.node,
      button("Try now", () => countdown.end()),
    );
  }
}

/** Seconds that pass before everybody's eyes, and can be cut short. */
class Countdown {
  node = element("span", { class: "countdown", "aria-hidden": "true" });
  #until;
  #timer;
  #resolve;

  constructor(seconds) {
    this.#until = performance.now() + seconds * 1000;
    this.over = new Promise((resolve) => (this.#resolve = resolve));
    this.#step();
  }

  end() {
    clearTimeout(this.#timer);
    this.#resolve();
  }

  #step() {
    const left = (this.#until - performance.now()) / 1000;
    if (left <= 0) return this.end();
    this.node.textContent = `Next try in ${Math.ceil(left)} s`;
    this.#timer = setTimeout(() => this.#step(), Math.min(left * 1000, 1000));
  }
}

function abortion(signal) {
  return new Promise((_, reject) =>
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true }),
  );
}
