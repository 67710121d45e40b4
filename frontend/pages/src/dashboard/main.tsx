import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { takeKeyOfAddress } from "../common/key.js";
import { applyTheme } from "../common/theme.js";
import "../common/tokens.css";
import "../common/base.css";
import "./dashboard.css";
import { Entry } from "./Entry.js";
import { Session } from "./session.js";

takeKeyOfAddress();
applyTheme();
const session = new Session();
session.enter();
const page = document.getElementById("page");
if (page !== null) {
  createRoot(page).render(
    <StrictMode>
      <Entry session={session} />
    </StrictMode>,
  );
}
