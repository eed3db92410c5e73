/** The waveform of a card: the event's place, playing around it or from the cursor, speed and loop. */

import WaveSurfer from "wavesurfer.js";
import Regions, { type Region } from "wavesurfer.js/plugins/regions";
import { type Card, fetchAudio, keyOf } from "./api";

/** Seconds played before and after the event. */
const AROUND = 2;
/** Conversations up to this long are shown whole, longer ones a stretch of this length at a time. */
const STRETCH = 60;

/** Seconds of the conversation; without an end to where it ends. */
export interface Stretch {
  start: number;
  end: number | null;
}

/** The stretch with the event in its middle. */
export function stretchOf(card: Card): Stretch {
  return stretchFrom(card, (card.time ?? 0) - STRETCH / 2);
}

/** The stretch before or after another one; the first and the last one have no other. */
export function neighbour(card: Card, stretch: Stretch, by: -1 | 1): Stretch {
  return stretchFrom(card, stretch.start + by * STRETCH);
}

function stretchFrom(card: Card, wanted: number): Stretch {
  if (card.duration <= STRETCH) return { start: 0, end: null };
  const start = Math.max(0, Math.min(wanted, card.duration - STRETCH));
  return { start, end: start + STRETCH };
}

export class Player {
  loop = false;
  #wave: WaveSurfer | null = null;
  #regions: InstanceType<typeof Regions> | null = null;
  #region: Region | null = null;
  #movable = false;
  #stretch: Stretch = { start: 0, end: null };
  #time: number | null = null;
  /** Where the person has put the cursor since something was played, in seconds of the stretch. */
  #cursor: number | null = null;
  /** What is being played, in seconds of the stretch. */
  #span: { start: number; end: number } | null = null;
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
    this.#regions = wave.registerPlugin(Regions.create());
    wave.on("play", () => this.events.state("playing"));
    wave.on("pause", () => this.#paused());
    wave.on("interaction", (at) => this.#sought(at));
    try {
      await wave.loadBlob(await this.fetch(card, stretch));
    } catch (error) {
      if (this.#wave === wave) this.events.state("error", error instanceof Error ? error.message : String(error));
      return;
    }
    if (this.#wave !== wave) return;
    wave.setPlaybackRate(this.#rate);
    this.#mark();
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

  /** Play, or stop: from where the person has put the cursor, otherwise the seconds around the event. */
  toggle(): void {
    const wave = this.#wave;
    if (!wave) return;
    if (wave.isPlaying()) {
      this.#span = null;
      wave.pause();
      return;
    }
    this.#span = this.#next(wave);
    this.#cursor = null;
    void wave.play(this.#span.start, this.#span.end);
  }

  set rate(rate: number) {
    this.#rate = rate;
    this.#wave?.setPlaybackRate(rate);
  }

  /** Where the cursor is, in seconds of the conversation. */
  get position(): number {
    return this.#stretch.start + (this.#wave?.getCurrentTime() ?? 0);
  }

  /** Let the event be moved by dragging it. */
  set movable(movable: boolean) {
    this.#movable = movable;
    this.#region?.setOptions({ drag: movable });
  }

  set time(time: number) {
    this.#time = time;
    this.#cursor = null;
    this.#mark();
  }

  clear(): void {
    const wave = this.#wave;
    this.#wave = this.#regions = this.#region = this.#cursor = this.#span = null;
    wave?.destroy();
  }

  /** The event's place in seconds of the stretch; null where it is unknown, elsewhere, or the audio has not come. */
  get #place(): number | null {
    const place = this.#time === null ? -1 : this.#time - this.#stretch.start;
    return place >= 0 && place <= (this.#wave?.getDuration() ?? 0) ? place : null;
  }

  #next(wave: WaveSurfer): { start: number; end: number } {
    const end = wave.getDuration();
    const place = this.#place;
    if (this.#cursor === null && place !== null) return { start: Math.max(place - AROUND, 0), end: Math.min(place + AROUND, end) };
    const cursor = this.#cursor ?? wave.getCurrentTime();
    return { start: cursor < end - 0.1 ? cursor : 0, end };
  }

  #sought(at: number): void {
    if (this.#wave?.isPlaying()) this.#span = { start: at, end: this.#wave.getDuration() };
    else this.#cursor = at;
  }

  #paused(): void {
    const wave = this.#wave;
    const reached = wave && this.#span && wave.getCurrentTime() >= this.#span.end - 0.1;
    if (this.loop && reached) void wave.play(this.#span?.start, this.#span?.end);
    else this.events.state("ready");
  }

  #mark(): void {
    const place = this.#place;
    if (place === null) return;
    const span = { start: place - 0.5, end: place + 0.5 };
    if (this.#region) {
      this.#region.setOptions(span);
      return;
    }
    const region = this.#regions?.addRegion({ ...span, color: "var(--wave-event)", drag: this.#movable, resize: false });
    region?.on("update-end", () => this.events.moved(this.#stretch.start + (region.start + region.end) / 2));
    this.#region = region ?? null;
  }
}
