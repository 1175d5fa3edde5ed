/** The room's entry: OCI specs in, launch plans out. */
export { compileContainerPlan } from './container-plan.js';
export { compileExecPlan } from './exec-plan.js';
export { compileRestorePlan } from './restore-plan.js';
export { compilePausePlan } from './pause-plan.js';
export { encodePlan } from './wire.js';
export { printPlan } from './print.js';
export { explainFailure } from './explain.js';
