// SPDX-License-Identifier: MIT
/**
 * Debian's kernels as files: fetched with apt from the archive that this machine's packages come from
 * (lists and cache of our own, /etc/apt is read and never changed), and unpacked, not installed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MachineError } from './error.js';

/** Kernels that can be asked for, and the Debian suite whose newest kernel that is. */
export const SUITES: Record<string, string> = {
  '6.1': 'bookworm',
  '6.12': 'bookworm-backports',
  newest: 'trixie-backports',
};

export interface Kernel {
  /** As uname -r says it inside. */
  release: string;
  image: string;
  /** The directory that has lib/modules in it. */
  root: string;
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const ARCHIVE = 'http://deb.debian.org/debian';

/** What is unpacked: the image, and of the modules those that the tests or the machine can need. */
const WANTED = [
  './boot/vmlinuz-*',
  '*/lib/modules/*/modules.*',
  '*/lib/modules/*/vmlinuz',
  ...['net', 'fs', 'lib', 'crypto', 'arch', 'drivers/virtio'].map(
    (part) => `*/lib/modules/*/kernel/${part}/*`,
  ),
  ...['dummy', 'tun', 'veth', 'ifb', 'macvlan', 'vrf', 'virtio_net', 'net_failover'].map(
    (name) => `*/lib/modules/*/kernel/drivers/net/${name}.ko*`,
  ),
];

function run(program: string, args: string[], cwd?: string): string {
  const done = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (done.error) throw new MachineError(`${program}: ${done.error.message}`);
  if (done.status !== 0) {
    throw new MachineError(`${program} ${args.join(' ')}: ${done.stderr.trim()}`);
  }
  return done.stdout;
}

/** Where this machine's Debian packages come from: a mirror of its own, it may be. */
function archive(): string {
  const sources = run('apt-get', [
    'indextargets',
    '--format',
    '$(RELEASE) $(COMPONENT) $(ORIGIN) $(REPO_URI)',
    'Created-By: Packages',
  ]);
  const ours = sources
    .split('\n')
    .map((line) => /^[a-z]+ main Debian (\S+?)\/?$/.exec(line)?.[1])
    .find((uri) => uri !== undefined && !uri.includes('security'));
  return ours ?? ARCHIVE;
}

/** Options that give apt lists and a cache of our own below `directory`, with this suite in them. */
function privateApt(directory: string, suite: string): string[] {
  if (!existsSync(KEYRING)) {
    throw new MachineError(
      `the kernels come from Debian's archive, and ${KEYRING}, by which they are known to be genuine, ` +
        'is missing; the package debian-archive-keyring has it',
    );
  }
  mkdirSync(join(directory, 'lists/partial'), { recursive: true });
  mkdirSync(join(directory, 'cache/archives/partial'), { recursive: true });
  const list = join(directory, 'sources.list');
  writeFileSync(list, `deb [signed-by=${KEYRING}] ${archive()} ${suite} main\n`);
  const settings = {
    'Dir::Etc::sourcelist': list,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::State::lists': join(directory, 'lists'),
    'Dir::Cache': join(directory, 'cache'),
    'APT::Sandbox::User': 'root', // the user _apt may not write below this directory
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** The kernel that was unpacked below `directory`, if one was. */
function unpacked(directory: string): Kernel | undefined {
  const root = join(directory, 'kernel');
  const modules = join(root, 'lib/modules');
  const release = existsSync(modules) ? readdirSync(modules)[0] : undefined;
  if (release === undefined) return undefined;
  const image = [join(root, `boot/vmlinuz-${release}`), join(modules, release, 'vmlinuz')].find(
    (path) => existsSync(path),
  );
  return image === undefined ? undefined : { release, image, root };
}

/** The packages of the kernel: one, or from Linux 7 on several of the same version. */
function packages(apt: string[], suite: string): string[] {
  const depends = (name: string): string[] =>
    [...run('apt-cache', [...apt, 'depends', '--important', name]).matchAll(/Depends: (\S+)/g)].map(
      (found) => found[1],
    );
  const image = depends('linux-image-amd64').find((name) => name.startsWith('linux-image-'));
  if (image === undefined) throw new MachineError(`${suite} has no package linux-image-amd64`);
  const version = image.slice('linux-image'.length);
  return [image, ...depends(image).filter((name) => name.endsWith(version))];
}

/**
 * The newest kernel of a suite, below `directory`; fetched when there is none yet, or always with
 * `renew`. @throws MachineError
 */
export function fetchKernel(suite: string, directory: string, renew: boolean): Kernel {
  const present = unpacked(directory);
  if (present && !renew) return present;
  const temporary = join(directory, 'new');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  const apt = privateApt(join(directory, 'apt'), suite);
  run('apt-get', ['-q', ...apt, 'update']);
  run('apt-get', ['-q', ...apt, 'download', ...packages(apt, suite)], directory);
  const files = readdirSync(directory).filter((entry) => entry.endsWith('.deb'));
  for (const file of files) {
    // what of the wanted one package does not have is in another
    run('bash', [
      '-c',
      'file=$1; into=$2; shift 2; dpkg-deb --fsys-tarfile "$file" | ' +
        'tar -x -C "$into" --wildcards "$@" 2>/dev/null; exit $PIPESTATUS',
      'unpack',
      join(directory, file),
      temporary,
      ...WANTED,
    ]);
  }
  // from Debian 13 on, packages have their modules below usr/lib
  const usr = join(temporary, 'usr/lib/modules');
  if (existsSync(usr)) {
    mkdirSync(join(temporary, 'lib'), { recursive: true });
    renameSync(usr, join(temporary, 'lib/modules'));
  }
  const [release] = readdirSync(join(temporary, 'lib/modules'));
  run('depmod', ['-b', temporary, release]);
  renameSync(temporary, join(directory, 'kernel'));
  for (const entry of [...files, 'apt']) rmSync(join(directory, entry), { recursive: true });
  const kernel = unpacked(directory);
  if (!kernel) throw new MachineError(`${suite}: no kernel in ${files.join(', ')}`);
  return kernel;
}
