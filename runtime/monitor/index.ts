/** The monitors of containers and the launcher of other plans, as the composition root uses them. */
export { openHelper } from './descriptors.js';
export { openMonitors } from './monitors.js';
export { runPlan } from './launcher.js';
export { openRelays } from './relay.js';
