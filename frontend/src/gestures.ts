/** Swiping a card to the right or left, with a finger or the mouse. */

const THRESHOLD_PX = 100;
const SLOP_PX = 10;

export interface Swipes {
  /** How far the card is pulled, from -1 (left, will be answered) to 1 (right). */
  pulled(share: number, px: number): void;
  swiped(direction: "left" | "right"): void;
}

export function watchSwipes(card: HTMLElement, swipes: Swipes): void {
  let from: { x: number; y: number; id: number } | null = null;
  let swiping = false;

  card.addEventListener("pointerdown", (event) => {
    const target = event.target as HTMLElement;
    if (!event.isPrimary || event.button !== 0 || target.closest("button, select, input, textarea, summary, .wave")) return;
    // The mouse selects text there; a finger that wants to, rests on it first.
    if (event.pointerType === "mouse" && target.closest(".transcript")) return;
    from = { x: event.clientX, y: event.clientY, id: event.pointerId };
  });
  card.addEventListener("pointermove", (event) => {
    if (!from || event.pointerId !== from.id) return;
    const dx = event.clientX - from.x;
    if (!swiping && Math.abs(dx) > SLOP_PX && Math.abs(dx) > Math.abs(event.clientY - from.y)) {
      swiping = true;
      card.setPointerCapture(event.pointerId);
    }
    if (swiping) swipes.pulled(Math.max(-1, Math.min(1, dx / THRESHOLD_PX)), dx);
  });
  const end = (event: PointerEvent) => {
    if (!from || event.pointerId !== from.id) return;
    const dx = event.clientX - from.x;
    const done = swiping && event.type === "pointerup" && Math.abs(dx) >= THRESHOLD_PX;
    from = null;
    swiping = false;
    swipes.pulled(0, 0);
    if (done) swipes.swiped(dx > 0 ? "right" : "left");
  };
  card.addEventListener("pointerup", end);
  card.addEventListener("pointercancel", end);
}
