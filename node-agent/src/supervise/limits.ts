/** Bounds of what the agent does with engines that it starts, each with its reason. */

/** The first start anew comes at once for a person, and late enough for ports and GPU memory to be free again. */
export const restartMsMin = 1_000;
/** Twice as long each time, up to this: who mends the cause need not wait longer to see it. */
export const restartMsMax = 60_000;
/** Who lives this long had come up: its end is no failure to start. */
export const livedMsMin = 60_000;
/** So many ends within this time, of which none had lived: trying again changes nothing. */
export const crashesMax = 5;
/** Who lives longer than this is well: its end is waited for a second again. */
export const crashWindowMs = 5 * 60_000;
/** Nobody uses an engine any more that is asked to end; some write caches down. Less than service managers wait. */
export const stopMsMax = 10_000;
/** A killed group is gone unless it hangs in a driver: then the agent ends without it. */
export const killedMsMax = 5_000;
/** Last lines of an engine, for telling why it ended: a stack trace. */
export const lastLinesMax = 20;
/** Of one such line; a longer one is cut. The file has it all, up to what one line may take there. */
export const lastLineCharsMax = 400;
export const logLineCharsMax = 16 * 1024;
/** Of both outputs of one engine are read in each window: a tenth of our time at most, were all lines short. */
export const outputWindowMs = 100;
export const outputBytesMax = 256 * 1024;
export const outputLinesMax = 2_000;
/** Of an engine's log on disk, two files together: some days of a talkative engine. */
export const logBytesMax = 16 * 1024 * 1024;
/** Ports in a row are looked for at so many places before the host counts as full. */
export const portTriesMax = 50;
