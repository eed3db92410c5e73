/** The server's API, typed. */

const API = "/api/user-loop/v2";
const TIMEOUT_MS = 15_000;

export interface CardId {
  conversation_id: string;
  version_id: string;
  event: string;
}

export interface Word {
  text: string;
  start: number;
  end: number;
}

/** A card; times in seconds from the start of the conversation. */
export interface Card extends CardId {
  adapter: string | null;
  score: number | null;
  threshold: number | null;
  time: number | null;
  recorded_at: string | null;
  tag: string;
  title: string;
  transcript: string;
  words: Word[];
  duration: number;
}

export type Said = "accepted" | "rejected";

export interface Answer extends CardId {
  answer: Said;
  reviewer: string;
  transcript: string | null;
  time: number | null;
}

export interface Stats {
  waiting: number;
  by_event: Record<string, number>;
  skipped: number;
  accepted: number;
  rejected: number;
}

/** A share with its confidence interval; null where it cannot be measured. */
export interface Figure {
  value: number | null;
  low: number | null;
  high: number | null;
}

export interface Approval {
  at: string;
  by: string;
  reason: string;
}

export interface Adapter {
  name: string;
  event: string;
  state: "waiting" | "promote" | "promoted" | "withdrawn" | "refused";
  average_precision: Figure;
  recall: Figure;
  false_alarm_rate: Figure;
  verdict: string;
  approval: Approval | null;
}

export interface Adapters {
  /** Whether candidates wait for approval at all. */
  enabled: boolean;
  adapters: Adapter[];
}

/** The server understood and refused; `status` is HTTP's. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export function keyOf(card: CardId): string {
  return JSON.stringify([card.conversation_id, card.version_id, card.event]);
}

export function idOf(card: CardId): CardId {
  return { conversation_id: card.conversation_id, version_id: card.version_id, event: card.event };
}

async function call(path: string, body?: unknown): Promise<Response> {
  const response = await fetch(API + path, {
    method: body === undefined ? "GET" : "POST",
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) throw new Refused(response.status, await problemOf(response));
  return response;
}

async function problemOf(response: Response): Promise<string> {
  try {
    const { detail } = await response.json();
    return typeof detail === "string" ? detail : `Error ${response.status}`;
  } catch {
    return `Error ${response.status}`;
  }
}

/** The next cards, among them the one in front of the person as long as nobody else has it. */
export async function fetchCards(client: string, count: number, event: string | null, current: CardId | null): Promise<Card[]> {
  return (await (await call("/next", { client, count, event, current: current && idOf(current) })).json()).cards;
}

export async function postAnswer(answer: Answer): Promise<number> {
  return (await (await call("/answers", answer)).json()).revision;
}

export async function postUndo(card: CardId, client: string, revision: number, reviewer: string): Promise<Card | null> {
  const body = { ...idOf(card), client, revision, reviewer };
  return (await (await call("/undo", body)).json()).cards[0] ?? null;
}

export async function postSkip(card: CardId, client: string): Promise<void> {
  await call("/skip", { ...idOf(card), client });
}

export async function postUnskip(client: string): Promise<void> {
  await call("/unskip", { client });
}

/** Figures, with answers counted since midnight where the person is. */
export async function fetchStats(client: string): Promise<Stats> {
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  return (await call(`/stats?client=${client}&since=${encodeURIComponent(midnight.toISOString())}`)).json();
}

export async function fetchAudio(card: CardId, start: number, end: number | null): Promise<Blob> {
  const query = new URLSearchParams({ start: String(start), ...(end === null ? {} : { end: String(end) }) });
  return (await call(`/audio/${encodeURIComponent(card.conversation_id)}?${query}`)).blob();
}

export async function fetchAdapters(): Promise<Adapters> {
  return (await call("/adapters")).json();
}

export async function postApproval(name: string, reviewer: string, reason: string): Promise<Approval> {
  return (await call(`/adapters/${encodeURIComponent(name)}/approve`, { reviewer, reason })).json();
}

export async function isAdmitted(): Promise<boolean> {
  return (await (await call("/session")).json()).admitted;
}

export async function login(token: string): Promise<void> {
  await call("/login", { token });
}
