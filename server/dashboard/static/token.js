/** The server's secret, where it wants one: asked for once, kept until the tab is closed. */

import { button, element } from "./dom.js";

const PLACE = "sportiv-token";

export class Token {
  #asking = null;
  value = kept();

  /** Resolves when another token was entered; false where nobody wants to enter one. */
  ask(reason, used) {
    if (used !== this.value) return Promise.resolve(true);
    this.#asking ??= this.#dialog(reason).finally(() => (this.#asking = null));
    return this.#asking;
  }

  #dialog(reason) {
    return new Promise((resolve) => {
      const dialog = this.#made(reason);
      dialog.addEventListener("close", () => {
        dialog.remove();
        resolve(dialog.returnValue === "entered");
      });
      document.body.append(dialog);
      dialog.showModal();
    });
  }

  #made(reason) {
    const input = element("input", {
      id: "token",
      type: "password",
      autocomplete: "current-password",
      required: true,
      "aria-describedby": "token-reason",
    });
    const enter = (event) => {
      event.preventDefault();
      this.#keep(input.value.trim());
      dialog.close("entered");
    };
    const dialog = element(
      "dialog",
      { id: "token-dialog", "aria-labelledby": "token-title" },
      element(
        "form",
        { onsubmit: enter },
        element("h2", { id: "token-title" }, "This server asks who you are"),
        element(
          "p",
          { id: "token-reason" },
          this.value ? `${reason}.` : "Enter its token to go on.",
        ),
        element("label", { for: "token" }, "Token"),
        input,
        element("p", { class: "hint" }, "Kept in this tab only, and forgotten with it."),
        element(
          "div",
          { class: "actions" },
          element("button", { type: "submit", class: "primary" }, "Go on"),
          button("Not now", () => dialog.close()),
        ),
      ),
    );
    return dialog;
  }

  #keep(value) {
    this.value = value;
    try {
      sessionStorage.setItem(PLACE, value);
    } catch {
      // A browser that keeps nothing asks again after a reload.
    }
  }
}

function kept() {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null;
  }
}
