import { defineConfig } from "vite";

// The built files lie in the package and are committed: a Python user needs no Node.
export default defineConfig({
  build: {
    outDir: "../event_detection_pipeline/review/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8710" } },
});
