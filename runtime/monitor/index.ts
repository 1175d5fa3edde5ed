/** The monitors of containers and the launcher of other plans, as the composition root uses them. */
export { openHelper } from './descriptors.js';
export { openMonitors, type Adopted, type MonitorService, type MonitorsOptions } from './monitors.js';
export { runPlan, type RunPlanOptions } from './launcher.js';
export { MonitorClient, type AttachOptions, type ExecOptions, type Execution } from './client.js';
export { type ContainerExit, readExitRecord } from './exit-record.js';
export { openRelays, type Relays } from './relay.js';
