import { app } from "./app.ts";

/** The router Worker: stateless, in every city. */
export default app;
