import { chmod, lstat, mkdir, rename, unlink } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ImageServiceService, RuntimeServiceService } from '../protos/gen/cri/runtime/v1/api.js';
import { within } from '../runtime/base/deadline.js';
import { RuntimeError, isErrno, wrapError } from '../runtime/errors.js';
import {
  ContainersService,
  TasksService,
  VersionService,
  containersService,
  tasksService,
  versionService,
} from './cadvisor/index.js';
import { imageService } from './image-service/index.js';
import { explainHandlers, explainService } from './journal/service.js';
import { acceptEncoded, implementService } from './rpc.js';
import { runtimeService } from './runtime-service/index.js';
import type { Services } from './services.js';

export interface CriServer {
  readonly socket: string;
  /** Takes no more calls, lets those in progress end within the grace period, cuts off the rest. */
  close(graceMs: number): Promise<void>;
}

/**
 * Serves the CRI, what cAdvisor asks of a runtime, and `podwright why` on a unix socket that root and its group may
 * connect to. A socket left by a daemon that died is replaced.
 *
 * @throws AlreadyExists if somebody serves there
 */
export async function serve(services: Services, socket: string): Promise<CriServer> {
  const server = new Server({
    'grpc.max_receive_message_length': services.config.limits.request_bytes,
    // Answers are bounded by what there is; the client has a limit of its own.
    'grpc.max_send_message_length': -1,
    // Nobody asks for grpc's own statistics, and they are kept on every message.
    'grpc.enable_channelz': 0,
  });
  server.addService(
    acceptEncoded(RuntimeServiceService),
    implementService(RuntimeServiceService, runtimeService, services),
  );
  server.addService(
    acceptEncoded(ImageServiceService),
    implementService(ImageServiceService, imageService, services),
  );
  addCadvisorServices(server, services);
  server.addService(explainService, implementService(explainService, explainHandlers, services));
  try {
    await claim(server, socket);
  } catch (error) {
    server.forceShutdown();
    throw wrapError('listen on', error, socket);
  }
  const inode = (await lstat(socket, { bigint: true })).ino;
  return { socket, close: (graceMs) => close(server, socket, inode, graceMs) };
}

function addCadvisorServices(server: Server, services: Services): void {
  server.addService(VersionService, implementService(VersionService, versionService, services));
  server.addService(ContainersService, implementService(ContainersService, containersService, services));
  server.addService(TasksService, implementService(TasksService, tasksService, services));
}

/** Longest path a socket address holds (man 7 unix), less its NUL. */
const maxSocketPathBytes = 107;

/** Binds under a name of its own and moves the socket into place when its mode is right: nobody sees it half made. */
async function claim(server: Server, socket: string): Promise<void> {
  const directory = path.dirname(socket);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await refuseLiving(socket);
  const own = path.join(directory, `.s${process.pid}`);
  if (Buffer.byteLength(own) > maxSocketPathBytes)
    throw new RuntimeError('InvalidArgument', 'path is too long');
  await unlinkIfPresent(own);
  await bind(server, own);
  try {
    await chmod(own, 0o660);
    await rename(own, socket);
  } catch (error) {
    await unlinkIfPresent(own);
    throw error;
  }
}

function bind(server: Server, socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

async function refuseLiving(socket: string): Promise<void> {
  try {
    const stats = await lstat(socket);
    if (!stats.isSocket()) throw new RuntimeError('AlreadyExists', 'something that is no socket is there');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return;
    throw error;
  }
  if (await answers(socket)) throw new RuntimeError('AlreadyExists', 'another daemon serves there');
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = net.connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => resolve(false));
  });
}

async function close(server: Server, socket: string, inode: bigint, graceMs: number): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    server.tryShutdown(() => resolve());
  });
  if (!(await within(ended, graceMs))) {
    server.forceShutdown();
  }
  // Another daemon may have taken the name meanwhile.
  const stats = await lstat(socket, { bigint: true }).catch(() => undefined);
  if (stats?.ino === inode) await unlinkIfPresent(socket);
}

async function unlinkIfPresent(file: string): Promise<void> {
  await unlink(file).catch((error: unknown) => {
    if (!isErrno(error, 'ENOENT')) throw error;
  });
}
