import { readFile } from 'node:fs/promises';
import descriptorPb from 'google-protobuf/google/protobuf/descriptor_pb.js';
import { expect } from 'chai';

const { FieldDescriptorProto, FileDescriptorSet } = descriptorPb;
type FileDescriptor = descriptorPb.FileDescriptorProto;
type Message = descriptorPb.DescriptorProto;
type Field = descriptorPb.FieldDescriptorProto;
type Enum = descriptorPb.EnumDescriptorProto;

const protos = new URL('../../protos/', import.meta.url);

describe('protobuf definitions', () => {
  for (const { files, facts } of [
    { files: ['cri/runtime/v1/api.proto'], facts: 'cri-v1.txt' },
    { files: ['criu/rpc.proto'], facts: 'criu-rpc.txt' },
    {
      files: [
        'containerd/services/version/v1/version.proto',
        'containerd/services/containers/v1/containers.proto',
        'containerd/services/tasks/v1/tasks.proto',
        'containerd/v1/types/task.proto',
      ],
      facts: 'cadvisor.txt',
    },
  ]) {
    it(`${files.join(' and ')} are ${facts}, row by row`, async () => {
      const descriptors = await Promise.all(files.map(readDescriptor));
      const expected = (await readFile(new URL(`facts/${facts}`, protos), 'utf8')).trimEnd().split('\n');
      expect(descriptors.flatMap(describeFile).sort()).to.deep.equal(expected.sort());
    });
  }

  it('api.proto marks the secrets of AuthConfig', async () => {
    const source = await readFile(new URL('cri/runtime/v1/api.proto', protos), 'utf8');
    const secrets = [...source.matchAll(/string (\w+) = \d+ \[debug_redact = true\]/g)].map(
      (match) => match[1],
    );
    expect(secrets).to.deep.equal(['password', 'auth', 'identity_token', 'registry_token']);
  });
});

async function readDescriptor(name: string): Promise<FileDescriptor> {
  const set = FileDescriptorSet.deserializeBinary(await readFile(new URL('gen/descriptors.binpb', protos)));
  const file = set.getFileList().find((candidate) => candidate.getName() === name);
  if (file === undefined) throw new Error(`no ${name} in the descriptor set`);
  return file;
}

/** One line per definition, in the form of protos/facts. */
function describeFile(file: FileDescriptor): string[] {
  const prefix = file.getPackage() === '' ? '.' : `.${file.getPackage()}.`;
  return [
    ...file.getServiceList().map(describeService(prefix)),
    ...file.getEnumTypeList().map((type) => describeEnum(type.getName() ?? '', type)),
    ...file.getMessageTypeList().flatMap((message) => describeMessage(message, prefix)),
  ];
}

const describeService = (prefix: string) => (service: descriptorPb.ServiceDescriptorProto) => {
  const rows = service.getMethodList().map((method) => {
    const answer = `${method.getServerStreaming() === true ? 'stream ' : ''}${shortName(method.getOutputType(), prefix)}`;
    return `rpc ${method.getName()} ${shortName(method.getInputType(), prefix)} -> ${answer}`;
  });
  return line('service', service.getName() ?? '', rows);
};

function describeEnum(name: string, type: Enum): string {
  return line(
    'enum',
    name,
    type.getValueList().map((value) => `${value.getNumber()} ${value.getName()}`),
  );
}

function describeMessage(message: Message, prefix: string): string[] {
  const name = message.getName() ?? '';
  const entries = new Map(
    message
      .getNestedTypeList()
      .filter((nested) => nested.getOptions()?.getMapEntry() === true)
      .map((nested) => [nested.getName(), nested]),
  );
  const others = message.getNestedTypeList().filter((nested) => !entries.has(nested.getName()));
  expect(others, `messages nested in ${name}`).to.have.length(0);
  return [
    line(
      'message',
      name,
      message
        .getFieldList()
        .map((field) => describeField(field, prefix, entries.get(mapEntryName(field, prefix)))),
    ),
    ...message.getEnumTypeList().map((type) => describeEnum(`${name}.${type.getName()}`, type)),
  ];
}

const typeNames = new Map<number, string>(
  Object.entries(FieldDescriptorProto.Type).map(([name, number]) => [
    Number(number),
    name.slice('TYPE_'.length).toLowerCase(),
  ]),
);

function describeField(field: Field, prefix: string, entry: Message | undefined): string {
  const type =
    entry === undefined
      ? fieldType(field, prefix)
      : `map<${entry
          .getFieldList()
          .map((part) => fieldType(part, prefix))
          .join(',')}>`;
  return [
    field.getNumber(),
    ...(entry === undefined ? label(field) : []),
    type,
    field.getName(),
    ...(field.hasDefaultValue() ? [`default=${field.getDefaultValue()}`] : []),
    ...(field.getOptions()?.getDeprecated() === true ? ['deprecated'] : []),
  ].join(' ');
}

function label(field: Field): string[] {
  if (field.getLabel() === FieldDescriptorProto.Label.LABEL_REPEATED) return ['repeated'];
  return field.getLabel() === FieldDescriptorProto.Label.LABEL_REQUIRED ? ['required'] : [];
}

function fieldType(field: Field, prefix: string): string {
  if (field.getTypeName() !== '') return shortName(field.getTypeName(), prefix);
  return typeNames.get(field.getType() ?? 0) ?? 'unknown';
}

/** The name of the nested entry message, if the field is a map: NAME.XEntry. */
function mapEntryName(field: Field, prefix: string): string | undefined {
  return shortName(field.getTypeName(), prefix).split('.')[1];
}

/** Without the package, if it is that of the file. */
function shortName(typeName = '', prefix: string): string {
  return typeName.startsWith(prefix) ? typeName.slice(prefix.length) : typeName.replace(/^\./, '');
}

function line(kind: string, name: string, rows: readonly string[]): string {
  return `${kind} ${name}:${rows.length === 0 ? '' : ' '}${rows.join('; ')}`;
}
