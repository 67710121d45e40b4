import { createRoot } from "react-dom/client";

import { applyTheme } from "../common/theme.js";
import "../common/tokens.css";
import "../common/base.css";

applyTheme();
const page = document.getElementById("page");
if (page !== null) createRoot(page).render(<h1>contextd</h1>);
