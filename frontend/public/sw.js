// Keeps the page itself, so that it opens without a connection. What people say at home (the API) is never kept.
const CACHE = "review-page";

self.addEventListener("install", (event) => {
  event.waitUntil(
    fetch("/")
      .then(keep)
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin || url.pathname.startsWith("/api/")) return;
  if (event.request.mode === "navigate") {
    event.respondWith(visit(event, url).catch(() => caches.match("/")));
    return;
  }
  event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request)));
});

/** The page from the server, which is kept anew: after an upgrade it is another one. */
async function visit(event, url) {
  const page = await fetch(event.request);
  if (page.ok && url.pathname === "/") event.waitUntil(keep(page.clone()));
  return page;
}

/** Keep a page with the files that it names, and no others. */
async function keep(page) {
  const cache = await caches.open(CACHE);
  const html = await page.clone().text();
  const files = [...html.matchAll(/(?:src|href)="(\/(?:assets|icons)\/[^"]+)"/g)].map((match) => match[1]);
  await cache.addAll(files);
  await cache.put("/", page);
  for (const kept of await cache.keys()) {
    if (!["/", ...files].includes(new URL(kept.url).pathname)) await cache.delete(kept);
  }
}
