/** The dialogs: help with the keys and the person's name, and logging in. */

import { login } from "./api";
import { h } from "./dom";

const NAME = "review-name";

const KEYS: [string, string][] = [
  ["→", "Yes, it is there"],
  ["←", "No, it is not"],
  ["↓", "Skip: leave it to somebody else"],
  ["↑", "Correct the text or the place"],
  ["Space", "Play 2 s around the place, or from where you clicked; stop"],
  ["L", "Play it in a loop"],
  ["< >", "Slower, faster"],
  ["Ctrl+Z", "Take the last answer back"],
  ["?", "This help"],
];

/** Who answers, as the person calls themselves. */
export function reviewerName(): string {
  return localStorage.getItem(NAME)?.trim() || "somebody";
}

export function helpDialog(): HTMLDialogElement {
  const name = h("input", { id: "name", maxlength: 80, autocomplete: "name", placeholder: "somebody" });
  name.value = localStorage.getItem(NAME) ?? "";
  name.addEventListener("input", () => localStorage.setItem(NAME, name.value));
  const dialog = h(
    "dialog",
    { "aria-labelledby": "help-title" },
    h("h2", { id: "help-title" }, "How it goes"),
    h("p", {}, "Swipe right for yes, left for no; or use the keys:"),
    h("dl", { class: "keys" }, ...KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
    h("label", { for: "name" }, "Your name, for the record of answers"),
    name,
    h("form", { method: "dialog" }, h("button", { class: "primary" }, "Close")),
  );
  return dialog;
}

/** Asks for the token until the server takes it. */
export function loginDialog(admitted: () => void): HTMLDialogElement {
  const token = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const dialog = h(
    "dialog",
    { "aria-labelledby": "login-title", cancel: (event) => event.preventDefault() },
    h("h2", { id: "login-title" }, "Log in"),
    h("p", {}, "Where this page is served, a token was printed when it started."),
    h(
      "form",
      {
        submit: (event) => {
          event.preventDefault();
          login(token.value).then(
            () => {
              token.value = "";
              problem.hidden = true;
              dialog.close();
              admitted();
            },
            (error: Error) => {
              problem.textContent = error.message;
              problem.hidden = false;
            },
          );
        },
      },
      h("label", { for: "token" }, "Token"),
      token,
      problem,
      h("button", { class: "primary" }, "Log in"),
    ),
  );
  return dialog;
}
