/** The waveform of a card: the event's place, playing around it, speed and loop. */

import WaveSurfer from "wavesurfer.js";
import Regions, { type Region } from "wavesurfer.js/plugins/regions";
import { type Card, fetchAudio, keyOf } from "./api";

/** Seconds played before and after the event. */
const AROUND = 2;
/** Conversations up to this long are shown whole, longer ones a stretch of this length at a time. */
const STRETCH = 60;

export interface Stretch {
  start: number;
  end: number | null;
}

export function stretchOf(card: Card, shift = 0): Stretch {
  if (card.duration <= STRETCH) return { start: 0, end: null };
  const middle = card.time ?? 0;
  const start = Math.min(Math.max(middle - STRETCH / 2 + shift * STRETCH, 0), Math.max(card.duration - 1, 0));
  return { start, end: start + STRETCH };
}

export class Player {
  loop = false;
  #wave: WaveSurfer | null = null;
  #region: Region | null = null;
  #stretch: Stretch = { start: 0, end: null };
  #time: number | null = null;
  #until: number | null = null;
  #rate = 1;
  #kept = new Map<string, Promise<Blob>>();

  constructor(
    private readonly events: {
      state(state: "loading" | "ready" | "playing" | "error", problem?: string): void;
      moved(time: number): void;
    },
  ) {}

  /** Show a card's audio in an element; `time` is the event's place in the conversation. */
  async show(container: HTMLElement, card: Card, stretch: Stretch, time: number | null): Promise<void> {
    this.clear();
    this.#stretch = stretch;
    this.#time = time;
    this.events.state("loading");
    const color = getComputedStyle(container);
    const wave = WaveSurfer.create({
      container,
      height: 88,
      barWidth: 2,
      barGap: 1,
      barRadius: 1,
      normalize: true,
      waveColor: color.getPropertyValue("--wave"),
      progressColor: color.getPropertyValue("--wave-played"),
      cursorColor: color.getPropertyValue("--text"),
      cspNonce: document.querySelector<HTMLMetaElement>("meta[name=style-nonce]")?.content,
    });
    this.#wave = wave;
    const regions = wave.registerPlugin(Regions.create());
    wave.on("play", () => this.events.state("playing"));
    wave.on("pause", () => this.#paused());
    try {
      await wave.loadBlob(await this.fetch(card, stretch));
    } catch (error) {
      if (this.#wave === wave) this.events.state("error", error instanceof Error ? error.message : String(error));
      return;
    }
    if (this.#wave !== wave) return;
    wave.setPlaybackRate(this.#rate);
    if (time !== null) this.#mark(regions, time, color.getPropertyValue("--wave-event"));
    this.events.state("ready");
  }

  /** The audio of a card, fetched once. */
  fetch(card: Card, stretch: Stretch): Promise<Blob> {
    const key = keyOf(card) + stretch.start;
    const kept = this.#kept.get(key) ?? fetchAudio(card, stretch.start, stretch.end);
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    kept.catch(() => this.#kept.delete(key));
    for (const oldest of [...this.#kept.keys()].slice(0, -8)) this.#kept.delete(oldest);
    return kept;
  }

  /** Play the seconds around the event, or stop. */
  toggle(): void {
    if (!this.#wave) return;
    if (this.#wave.isPlaying()) {
      this.#until = null;
      this.#wave.pause();
      return;
    }
    void this.#play();
  }

  set rate(rate: number) {
    this.#rate = rate;
    this.#wave?.setPlaybackRate(rate);
  }

  /** Where the person has put the cursor, in seconds of the conversation. */
  get position(): number {
    return this.#stretch.start + (this.#wave?.getCurrentTime() ?? 0);
  }

  /** Let the event be moved by dragging it. */
  set movable(movable: boolean) {
    this.#region?.setOptions({ drag: movable });
  }

  set time(time: number) {
    this.#time = time;
    const place = time - this.#stretch.start;
    if (this.#region) this.#region.setOptions({ start: place - 0.5, end: place + 0.5 });
  }

  clear(): void {
    const wave = this.#wave;
    this.#wave = this.#region = this.#until = null;
    wave?.destroy();
  }

  async #play(): Promise<void> {
    const wave = this.#wave;
    if (!wave) return;
    if (this.#time === null) {
      await wave.play();
      return;
    }
    const place = this.#time - this.#stretch.start;
    this.#until = Math.min(place + AROUND, wave.getDuration());
    await wave.play(Math.max(place - AROUND, 0), this.#until);
  }

  #paused(): void {
    const reached = this.#until !== null && (this.#wave?.getCurrentTime() ?? 0) >= this.#until - 0.1;
    if (this.loop && reached) void this.#play();
    else this.events.state("ready");
  }

  #mark(regions: ReturnType<typeof Regions.create>, time: number, color: string): void {
    const place = time - this.#stretch.start;
    const region = regions.addRegion({ start: place - 0.5, end: place + 0.5, color, drag: false, resize: false });
    region.on("update-end", () => {
      this.#time = this.#stretch.start + (region.start + region.end) / 2;
      this.events.moved(this.#time);
    });
    this.#region = region;
  }
}
