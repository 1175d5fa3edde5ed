import { expect } from 'chai';
import { Busybox, usualSpec, whyNoContainers } from './busybox.suite.js';

describe('a container from its plan', function () {
  let box: Busybox;

  before(async function () {
    if (whyNoContainers() !== undefined) this.skip();
    box = await Busybox.open();
  });

  after(async () => box?.close());

  it('runs', async () => {
    const { code, out } = await box.run('echo hello; exit 3');
    expect({ code, out }).to.deep.equal({ code: 3, out: 'hello\n' });
  });

  it('mounts', async () => {
    const { out } = await box.run(
      'cat /proc/self/mountinfo; ls -la /dev /dev/pts; id; cat /proc/self/status; ulimit -n; hostname; pwd; env; ls /proc/self/fd',
    );
    console.log(out);
  });
});
void usualSpec;
