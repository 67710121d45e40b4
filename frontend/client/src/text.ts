/** Text as the backend counts it: in code points, of which some take two units of a string. */

/** How many code points there are. */
export function codePoints(text: string): number {
  let count = text.length;
  for (let at = 0; at < text.length - 1; at += 1) {
    if (isPair(text, at)) {
      count -= 1;
      at += 1;
    }
  }
  return count;
}

/** What follows the first `count` code points. */
export function behind(text: string, count: number): string {
  let at = 0;
  for (let left = count; left > 0 && at < text.length; left -= 1)
    at += isPair(text, at) ? 2 : 1;
  return text.slice(at);
}

/** The first `count` code points. */
export function upTo(text: string, count: number): string {
  return text.slice(0, text.length - behind(text, count).length);
}

function isPair(text: string, at: number): boolean {
  const [high, low] = [text.charCodeAt(at), text.charCodeAt(at + 1)];
  return high >= 0xd800 && high < 0xdc00 && low >= 0xdc00 && low < 0xe000;
}
