// What pages do in addition if scripts run. Without them, every page reads and filters all the same.
import { offerCopies } from "./copy.js";
import { listenToKeys } from "./keys.js";
import { keepFresh } from "./live.js";
import { localize } from "./times.js";

localize(document);
keepFresh();
listenToKeys();
offerCopies();
