/** Which addresses of others' text may become links. */

const OPENED: ReadonlySet<string> = new Set(["http:", "https:", "mailto:"]);

/** The address as the browser reads it; null, if it is none that is opened. Relative ones are not. */
export function safeAddress(text: string): string | null {
  try {
    const address = new URL(text);
    return OPENED.has(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}
