/** Colours for code. Loaded when the first block of code is shown, and not before. */

import type { Root } from "hast";
import bash from "highlight.js/lib/languages/bash";
import cpp from "highlight.js/lib/languages/cpp";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import go from "highlight.js/lib/languages/go";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { createLowlight } from "lowlight";

const lowlight = createLowlight({
  ...{ bash, cpp, css, diff, go, java, javascript, json },
  ...{ python, rust, sql, typescript, xml, yaml },
});
lowlight.registerAlias({
  bash: ["shell", "console"],
  javascript: ["jsx"],
  typescript: ["tsx"],
  xml: ["svg"],
});

/** The text as a tree of classes; null, if its language is not known. */
export function colours(text: string, language: string): Root | null {
  return lowlight.registered(language) ? lowlight.highlight(language, text) : null;
}
