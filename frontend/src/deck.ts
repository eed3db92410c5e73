/** The cards in hand: which is shown, which come next, and which were answered and can be taken back. */

import { type Answer, type Card, fetchCards, keyOf, postAnswer, postSkip, postUndo, postUnskip } from "./api";
import type { Outbox } from "./outbox";

const IN_HAND = 3;

export interface Answered {
  card: Card;
  answer: Answer;
}

export interface DeckEvents {
  changed(): void;
  /** Whether the person is correcting the current card. */
  busy(): boolean;
  /** The current card was answered elsewhere, or somebody else has it. */
  lost(): void;
}

export class Deck {
  event: string | null = null;
  /** Whether the server has said that there is nothing more. */
  exhausted = false;
  #cards: Card[] = [];
  #gone = new Set<string>();
  #done: Answered[] = [];
  #revisions = new Map<string, number>();
  #filling: Promise<void> | null = null;

  constructor(
    private readonly client: string,
    private readonly outbox: Outbox,
    private readonly events: DeckEvents,
  ) {
    // Answers of an earlier visit that are still on their way.
    for (const answer of outbox.waiting) this.#gone.add(keyOf(answer));
  }

  get current(): Card | null {
    return this.#cards[0] ?? null;
  }

  get upcoming(): Card[] {
    return this.#cards.slice(1);
  }

  get canUndo(): boolean {
    return this.#done.length > 0;
  }

  /** Ask the server for cards; asking also keeps those in hand ours for another minute. */
  fill(): Promise<void> {
    this.#filling ??= this.#fill().finally(() => {
      this.#filling = null;
    });
    return this.#filling;
  }

  answer(answer: Answer): void {
    const card = this.#cards.shift();
    if (!card) return;
    this.#gone.add(keyOf(card));
    this.#done.push({ card, answer });
    this.outbox.add(answer);
    this.events.changed();
  }

  async skip(): Promise<void> {
    const card = this.#cards.shift();
    if (!card) return;
    this.#gone.add(keyOf(card));
    this.events.changed();
    await postSkip(card, this.client);
    await this.fill();
  }

  async unskip(): Promise<void> {
    await postUnskip(this.client);
    this.#gone = new Set(this.#done.map(({ card }) => keyOf(card)));
    await this.fill();
  }

  /** Take back the last answer; its card is shown again. Throws what the server or the connection says. */
  async undo(reviewer: string): Promise<Card | null> {
    const last = this.#done.at(-1);
    if (!last) return null;
    const unsent = await this.outbox.remove(last.answer);
    if (!unsent) {
      // Where another tab has sent it, the same answer again changes nothing and tells its revision.
      const revision = this.#revisions.get(keyOf(last.card)) ?? (await postAnswer(last.answer));
      await postUndo(last.card, this.client, revision, reviewer);
      this.#revisions.delete(keyOf(last.card));
    }
    this.#done = this.#done.filter((one) => one !== last);
    this.#gone.delete(keyOf(last.card));
    this.#cards.unshift(last.card);
    this.events.changed();
    return last.card;
  }

  confirmed(answer: Answer, revision: number): void {
    this.#revisions.set(keyOf(answer), revision);
  }

  refused(answer: Answer): void {
    this.#done = this.#done.filter((one) => keyOf(one.card) !== keyOf(answer));
  }

  filter(event: string | null): Promise<void> {
    this.event = event;
    this.#cards = [];
    this.exhausted = false;
    this.events.changed();
    return this.fill();
  }

  async #fill(): Promise<void> {
    const event = this.event;
    const asked = this.current;
    // Those that are answered but not sent yet are ours too, as far as the server knows.
    const found = await fetchCards(this.client, IN_HAND + Math.min(this.outbox.waiting.length, 40), event, asked);
    if (event !== this.event) return this.#fill();
    const cards = found.filter((card) => !this.#gone.has(keyOf(card)));
    const current = this.current;
    // The card in front of a person stays there, unless somebody else has it meanwhile; what they typed stays even then.
    const keep = current !== asked || this.events.busy();
    const stays = current && (cards.find((card) => keyOf(card) === keyOf(current)) ?? (keep ? current : null));
    if (current && !stays) this.events.lost();
    this.#cards = stays ? [stays, ...cards.filter((card) => keyOf(card) !== keyOf(stays))] : cards;
    this.exhausted = this.#cards.length === 0;
    this.events.changed();
  }
}
