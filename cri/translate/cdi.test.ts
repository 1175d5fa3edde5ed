import { expect } from 'chai';
import { refusalOf } from '../testing/refusal.js';
import { toCdiNames } from './cdi.js';

describe('the CDI devices of a container', () => {
  const names = (devices: string[], annotations: Record<string, string> = {}, allowsAnnotations = false) =>
    toCdiNames({ CDIDevices: devices.map((name) => ({ name })), annotations }, { allowsAnnotations });
  const annotation = { 'cdi.k8s.io/plugin_1': 'v.com/gpu=0,v.com/gpu=1' };

  it('are those of the field, each once', () => {
    expect(names(['v.com/gpu=1', 'v.com/gpu=0', 'v.com/gpu=1'], { other: 'v.com/gpu=2' })).to.deep.equal([
      'v.com/gpu=1',
      'v.com/gpu=0',
    ]);
  });

  it('are those of annotations where the node allows that', () => {
    expect(names(['v.com/gpu=1'], annotation, true)).to.deep.equal(['v.com/gpu=1', 'v.com/gpu=0']);
  });

  it('may be repeated in annotations anywhere', () => {
    expect(names(['v.com/gpu=0', 'v.com/gpu=1'], annotation)).to.have.length(2);
  });

  it('are refused in annotations elsewhere', () => {
    expect(refusalOf(() => names(['v.com/gpu=0'], annotation))).to.match(
      /^InvalidArgument: config\.annotations\["cdi\.k8s\.io\/plugin_1"\]: .*cdi_annotations/,
    );
  });

  it('have names', () => {
    expect(refusalOf(() => names(['']))).to.match(/^InvalidArgument: config\.CDI_devices\[0\]\.name/);
  });
});
