import { expect } from 'chai';
import type { Cluster } from './cluster.js';

/** What a pod may ask for in the way of users, groups, rights and namespaces, as its processes see it. */
export function securitySuite(of: () => Cluster): void {
  const sleep = 'exec sleep 1000';
  const look = (name: string, script: string, container = 'main'): Promise<string> =>
    of().kubectl.run(['exec', name, '-c', container, '--', 'sh', '-c', script]);

  it('runs as users and groups, owns volumes by group, and can do no more than it should', async () => {
    const { remove, run, shell } = of();
    const main = shell('main', sleep, {
      securityContext: {
        ...{ readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, runAsNonRoot: true },
        capabilities: { drop: ['ALL'] },
      },
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
    });
    await run('confined', [main], {
      securityContext: {
        ...{ runAsUser: 1234, runAsGroup: 2345, fsGroup: 3456, supplementalGroups: [4567] },
        ...{ supplementalGroupsPolicy: 'Strict', seccompProfile: { type: 'RuntimeDefault' } },
        sysctls: [{ name: 'net.ipv4.ping_group_range', value: '0 100' }],
      },
      volumes: [{ name: 'data', emptyDir: {} }],
    });
    expect(await look('confined', 'id -u; id -g; id -G | xargs -n1 | sort | xargs')).to.equal(
      '1234\n2345\n2345 3456 4567\n',
    );
    expect(await look('confined', 'touch /data/x; stat -c %g /data/x; touch /x 2>&1 || true')).to.equal(
      '3456\ntouch: /x: Read-only file system\n',
    );
    const status = await look(
      'confined',
      'grep -E "CapBnd|CapEff|NoNewPrivs|Seccomp:" /proc/self/status | xargs',
    );
    expect(status).to.equal('CapEff: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1 Seccomp: 2\n');
    expect(await look('confined', 'xargs </proc/sys/net/ipv4/ping_group_range')).to.equal('0 100\n');
    await remove('confined');
  });

  it('gives a pod users of its own, which are nobody on the node', async () => {
    const { api, remove, run, shell } = of();
    const volumeMounts = [{ name: 'data', mountPath: '/data' }];
    await run('own-users', [shell('main', sleep, { volumeMounts })], {
      hostUsers: false,
      volumes: [{ name: 'data', emptyDir: {} }],
    });
    const [inside, outside, length] = (await look('own-users', 'xargs </proc/self/uid_map'))
      .trim()
      .split(' ')
      .map(Number);
    expect(inside).to.equal(0);
    expect(outside).to.be.at.least(65_536);
    expect(length).to.equal(65_536);
    expect(await look('own-users', 'id -u; touch /data/file; stat -c %u /data/file /bin/busybox')).to.equal(
      '0\n0\n0\n',
    );
    const { status } = await api.get<NodeObject>('/api/v1/nodes/node0');
    const plain = status.runtimeHandlers?.find(({ name }) => (name ?? '') === '');
    expect(plain?.features).to.deep.equal({ recursiveReadOnlyMounts: true, userNamespaces: true });
    await remove('own-users');
  });

  it('shares the process namespace of a pod, or that of the node, where it is asked to', async () => {
    const { remove, run, shell } = of();
    await run('sharing', [shell('main', sleep), shell('other', 'exec sleep 2000')], {
      shareProcessNamespace: true,
    });
    expect(await look('sharing', 'ps -o args'))
      .to.contain('sleep 2000')
      .and.contain('sleep 1000');
    await remove('sharing');
    await run('on-host', [shell('main', sleep)], { hostPID: true, hostIPC: true });
    expect(await look('on-host', 'ps -o args')).to.contain('kubelet');
    await remove('on-host');
  });

  it('writes names and addresses where programs look for them', async () => {
    const { kubectl, remove, run, shell } = of();
    await run('named', [shell('main', sleep)], {
      ...{ hostname: 'given', subdomain: 'below', dnsPolicy: 'None' },
      dnsConfig: {
        nameservers: ['192.0.2.53'],
        searches: ['test.example'],
        options: [{ name: 'ndots', value: '3' }],
      },
      hostAliases: [{ ip: '192.0.2.1', hostnames: ['alias.example'] }],
    });
    expect(await look('named', 'hostname; cat /etc/resolv.conf')).to.equal(
      'given\nsearch test.example\nnameserver 192.0.2.53\noptions ndots:3\n',
    );
    const address = await kubectl.run(['get', 'pod', 'named', '-o', 'jsonpath={.status.podIP}']);
    const hosts = await look('named', 'cat /etc/hosts');
    expect(hosts).to.match(/192\.0\.2\.1\s+alias\.example/);
    const own = hosts.split('\n').find((line) => line.startsWith(`${address}\t`));
    expect(own).to.match(/\tgiven\.below\.default\.svc\S*\tgiven$/);
    await remove('named');
  });

  it('makes mounts read-only with everything below them', async () => {
    const { remove, run, shell } = of();
    const volumeMounts = [{ name: 'host', mountPath: '/host', readOnly: true, recursiveReadOnly: 'Enabled' }];
    const volumes = [{ name: 'host', hostPath: { path: '/dev', type: 'Directory' } }];
    await run('read-only', [shell('main', sleep, { volumeMounts })], { volumes });
    const script = 'touch /host/x 2>&1; touch /host/shm/x 2>&1; true';
    expect(await look('read-only', script)).to.match(
      /^touch: \/host\/x: Read-only.*\ntouch: \/host\/shm\/x: Read-only.*\n$/,
    );
    await remove('read-only');
  });
}

interface NodeObject {
  readonly status: {
    readonly runtimeHandlers?: readonly {
      readonly name?: string;
      readonly features?: Readonly<Record<string, boolean>>;
    }[];
  };
}
