/** Answers on their way: kept in the browser until the server has confirmed them, also over a reload. */

import { type Answer, keyOf, postAnswer, Refused } from "./api";

const STORE = "review-outbox";
const RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000];

export interface OutboxEvents {
  /** How many wait, and whether the last try failed. */
  changed(waiting: number, failing: boolean): void;
  confirmed(answer: Answer, revision: number): void;
  /** The server will never take this one: the card is gone, say. */
  refused(answer: Answer, why: string): void;
  loginNeeded(): void;
}

export class Outbox {
  #tries = 0;
  #timer: number | undefined;
  #sending: Promise<void> | null = null;

  constructor(private readonly events: OutboxEvents) {
    addEventListener("online", () => this.send());
  }

  get waiting(): Answer[] {
    try {
      const kept: unknown = JSON.parse(localStorage.getItem(STORE) ?? "[]");
      return Array.isArray(kept) ? kept : [];
    } catch {
      return [];
    }
  }

  add(answer: Answer): void {
    this.#keep([...this.waiting.filter((one) => keyOf(one) !== keyOf(answer)), answer]);
    void this.send();
  }

  /** Take back an answer that has not been sent; false if it has. */
  async remove(answer: Answer): Promise<boolean> {
    await this.#sending;
    const left = this.waiting.filter((one) => keyOf(one) !== keyOf(answer));
    if (left.length === this.waiting.length) return false;
    this.#keep(left);
    return true;
  }

  /** Send what waits, in order; what fails is tried again later. */
  send(): Promise<void> {
    clearTimeout(this.#timer);
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = null;
      this.events.changed(this.waiting.length, this.#tries > 0);
    });
    return this.#sending;
  }

  async #sendAll(): Promise<void> {
    for (let answer = this.waiting[0]; answer; answer = this.waiting[0]) {
      try {
        const revision = await postAnswer(answer);
        this.#drop(answer);
        this.#tries = 0;
        this.events.confirmed(answer, revision);
      } catch (error) {
        if (error instanceof Refused && [404, 409, 413, 422].includes(error.status)) {
          this.#drop(answer);
          this.events.refused(answer, error.message);
          continue;
        }
        if (error instanceof Refused && error.status === 401) this.events.loginNeeded();
        this.#timer = setTimeout(() => void this.send(), RETRY_MS[Math.min(this.#tries, RETRY_MS.length - 1)]);
        this.#tries += 1;
        return;
      }
    }
  }

  #drop(sent: Answer): void {
    const same = JSON.stringify(sent);
    this.#keep(this.waiting.filter((one) => JSON.stringify(one) !== same));
  }

  #keep(answers: Answer[]): void {
    localStorage.setItem(STORE, JSON.stringify(answers));
    this.events.changed(answers.length, this.#tries > 0);
  }
}
