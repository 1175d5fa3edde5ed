import path from 'node:path';
import { cache } from '../places.js';

/** kubelet, kube-apiserver, … , etcd and agnhost, as hack/setup/go-tools.sh built them. */
export const kubernetesTool = (name: string): string => path.join(cache, 'kubernetes/bin', name);

/** The address of the node, which hack/e2e-kubelet.sh gave to an interface of this network namespace. */
export const nodeAddress = '10.199.0.1';

export const nodeName = 'node0';
