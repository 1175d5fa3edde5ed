import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  containerConfig,
  createContainer,
  openBed,
  podConfig,
  runContainer,
} from './bed.js';
import { runToEnd } from './container-log.js';
import { refusal } from './refusal.js';

/** Runtime handlers: the same core with other settings, by the name that a RuntimeClass gives. */
describe('a runtime handler', () => {
  let bed: Bed;
  let pods = 0;
  const handlers = `
    [runtime.handlers.bare]
    privileged_without_host_devices = true
    [runtime.handlers.open]
    privileged_without_host_devices = true
    privileged_without_host_devices_all_devices_allowed = true
    [runtime.handlers.filtered]
    unset_seccomp_profile = 'runtime/default'
    [runtime.handlers.groups]
    cgroup_writable = true
    [runtime.handlers.tuned]
    sysctls = { 'net.core.somaxconn' = '77' }
    [runtime.handlers.annotated]
    cdi_annotations = true
    device_ownership_from_security_context = true
    [runtime.handlers.quiet]
    log_bytes_per_second = 5000`;
  const configure = async (text: string): Promise<void> => {
    const { scratch } = bed.daemon.instance;
    const cdi = `[cdi]\nspec_dirs = ['${path.join(scratch, 'cdi')}']\n`;
    await writeFile(path.join(scratch, 'config.toml'), cdi + text);
    await bed.daemon.restart();
  };
  const privileged: ContainerConfig = { linux: { securityContext: { privileged: true } } };

  before(async () => {
    bed = await openBed();
    await configure(handlers);
  });
  after(async () => {
    await bed?.end();
  });

  const runPodWith = async (runtimeHandler: string): Promise<Pod> => {
    const config = podConfig(bed, `pod-${++pods}`, {
      linux: {
        securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } },
      },
    });
    const { podSandboxId } = await bed.daemon.client.runtime.runPodSandbox({ config, runtimeHandler });
    return { id: podSandboxId, config, logDirectory: config.logDirectory ?? '' };
  };
  const run = async (pod: Pod, name: string, script: string, more: ContainerConfig = {}) => {
    return (await runToEnd(bed, pod, containerConfig(bed, name, script, more))).texts;
  };
  const devices =
    'ls /dev | grep -c "^loop\\|^tty[0-9]\\|^kmsg" ; mknod /tmp/kmsg c 1 11 && head -c 0 /tmp/kmsg && echo used';

  it('is announced with its features', async () => {
    const { runtimeHandlers } = await bed.daemon.client.runtime.status({});
    expect(runtimeHandlers.map(({ name }) => name)).to.have.members([
      '',
      'bare',
      'open',
      'filtered',
      'groups',
      'tuned',
      'annotated',
      'quiet',
    ]);
    for (const { features } of runtimeHandlers) expect(features).to.deep.equal(runtimeHandlers[0]?.features);
  });

  it('is told of its pods', async () => {
    const pod = await runPodWith('tuned');
    const { status: told } = await bed.daemon.client.runtime.podSandboxStatus({ podSandboxId: pod.id });
    expect(told?.runtimeHandler).to.equal('tuned');
    const { items } = await bed.daemon.client.runtime.listPodSandbox({ filter: { id: pod.id } });
    expect(items[0]?.runtimeHandler).to.equal('tuned');
    expect(await run(pod, 'sysctl', 'cat /proc/sys/net/core/somaxconn')).to.deep.equal(['77']);
  });

  it('that nobody configured is refused', async () => {
    for (const name of ['kata', '__proto__']) {
      const { code, details } = await refusal(runPodWith(name));
      expect(code).to.equal(status.INVALID_ARGUMENT);
      expect(details).to.match(/runtime_handler: no handler ".*" is configured \(there is "bare", /);
    }
    const image = { image: bed.image, runtimeHandler: 'kata' };
    expect((await refusal(bed.daemon.client.image.pullImage({ image }))).code).to.equal(
      status.INVALID_ARGUMENT,
    );
    await bed.daemon.client.image.pullImage({ image: { image: bed.image, runtimeHandler: 'bare' } });
  });

  it('keeps the devices of the host from privileged containers', async () => {
    const plain = await run(await runPodWith(''), 'plain', devices, privileged);
    expect(Number(plain[0])).to.be.greaterThan(0);
    expect(plain.at(-1)).to.equal('used');
    const bare = await run(await runPodWith('bare'), 'bare', devices, privileged);
    expect(bare[0]).to.equal('0');
    expect(bare).not.to.include('used');
    expect(await run(await runPodWith('open'), 'open', devices, privileged)).to.deep.equal(['0', 'used']);
  });

  it('filters the system calls of containers that do not say', async () => {
    const filter = "grep '^Seccomp:' /proc/self/status";
    expect((await run(await runPodWith('filtered'), 'filtered', filter))[0]).to.match(/\t2$/);
    const pod = await runPodWith('annotated');
    expect((await run(pod, 'unfiltered', filter))[0]).to.match(/\t0$/);
  });

  it('lets containers write to their cgroups', async () => {
    const write =
      'cd /sys/fs/cgroup; d=$(ls -d pids freezer . | head -n 1); mkdir $d/inner && rmdir $d/inner && echo made';
    expect(await run(await runPodWith('groups'), 'groups', `{ ${write}; } 2>/dev/null`)).to.include('made');
    const pod = await runPodWith('bare');
    expect(await run(pod, 'no-groups', `{ ${write}; } 2>/dev/null; :`)).not.to.include('made');
  });

  it('limits what containers log in a second, and says what is missing', async () => {
    const pod = await runPodWith('quiet');
    // In one go: at most two seconds' worth gets through.
    const lines = await run(pod, 'loud', "head -c 1000000 /dev/zero | tr '\\0' x | fold -w 99");
    const [notice, ...others] = lines.filter((line) => !/^x+$/.test(line));
    expect(others).to.have.length.at.most(2);
    expect(notice).to.match(/^podwright: \d+ bytes of output lost: more than the log may take per second$/);
    expect(lines.length).to.be.within(40, 400);
    const plain = await run(
      await runPodWith('bare'),
      'loud',
      "head -c 100000 /dev/zero | tr '\\0' x | fold -w 99",
    );
    expect(plain.join('')).to.have.length(100_000);
  });

  it('takes devices from annotations, and gives them to the user of the container', async () => {
    const directory = path.join(bed.daemon.instance.scratch, 'cdi');
    await mkdir(directory);
    await writeFile(
      path.join(directory, 'test.yaml'),
      'cdiVersion: "0.6.0"\nkind: test.com/x\ndevices: [{ name: "0", containerEdits: { env: ["FROM=annotation"] } }]\n',
    );
    const pod = await runPodWith('annotated');
    const more: ContainerConfig = {
      annotations: { 'cdi.k8s.io/plugin_0': 'test.com/x=0' },
      devices: [{ hostPath: '/dev/null', containerPath: '/dev/mine', permissions: 'rw' }],
      linux: { securityContext: { runAsUser: { value: 1234n } } },
    };
    const lines = await run(pod, 'annotated', "echo $FROM; stat -c '%u' /dev/mine", more);
    expect(lines).to.deep.equal(['annotation', '1234']);
  });

  it('that the configuration lost leaves its pods, which get no more containers', async () => {
    const pod = await runPodWith('groups');
    const container = await runContainer(bed, pod, containerConfig(bed, 'staying', 'exec sleep 1000'));
    await configure('');
    const { code, details } = await refusal(createContainer(bed, pod, containerConfig(bed, 'new', 'exit 0')));
    expect(code).to.equal(status.FAILED_PRECONDITION);
    expect(details).to.match(/no handler "groups" is configured/);
    await bed.daemon.client.runtime.stopContainer({ containerId: container.id, timeout: 0n });
  });
});
