import type { Dialect } from "./dialect.ts";

/** Ollama tells nothing of its load: what the agent carries to it is what is known. It loads and unloads models by itself. */
export const ollama: Dialect = {
  engine: "ollama",
  name: "Ollama",
  prefixes: [],
  // of a model of its library only: any other is owned by its namespace
  ownedBy: "library",
  greeting: "Ollama is running",
  version: { path: "/api/version", members: ["version"] },
};
