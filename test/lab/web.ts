import { createHash, randomFillSync } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { Lab } from './lab.js';
import { addressOf, bracketed, WEB_SERVERS } from './topology.js';

export interface Sample {
  name: string;
  path: string;
  sha256: string;
  bytes: number;
}

/** Files of random bytes, in memory, so that no disk takes part. */
export class Content {
  readonly root: string;
  readonly samples: Sample[] = [];

  constructor(lab: Lab, bytes: number, count = 4) {
    this.root = lab.mount('tmpfs', 'content', 'mode=0755');
    fs.mkdirSync(join(this.root, 'get'));
    fs.mkdirSync(join(this.root, 'put'));
    const data = Buffer.alloc(bytes);
    for (let i = 0; i < count; i++) {
      randomFillSync(data);
      const name = `sample-${i}`;
      const path = join(this.root, 'get', name);
      fs.writeFileSync(path, data);
      const sha256 = createHash('sha256').update(data).digest('hex');
      this.samples.push({ name, path, sha256, bytes });
    }
  }

  /** SHA-256 of what a server stored for an upload, which is then deleted; '' if there is none. */
  async takeUpload(name: string): Promise<string> {
    const path = join(this.root, 'put', name);
    const hash = createHash('sha256');
    try {
      for await (const chunk of fs.createReadStream(path, { highWaterMark: 1 << 20 }))
        hash.update(chunk);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    }
    await fs.promises.unlink(path);
    return hash.digest('hex');
  }
}

/**
 * Starts the real servers. Downloads leave at bytesPerSecond each, in some thirty steps a second: the
 * sender sets the pace, so what the client sees as a pause was a pause of the network.
 */
export function startWebServers(lab: Lab, content: Content, bytesPerSecond: number): void {
  for (const node of WEB_SERVERS) {
    const state = lab.path(node, 'state');
    fs.mkdirSync(state, { recursive: true });
    fs.mkdirSync(join(content.root, node));
    const config = lab.write(
      join(node, 'nginx.conf'),
      `daemon off;
user root;
worker_processes 1;
pid ${state}/pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  sendfile_max_chunk ${Math.max(1024, Math.ceil(bytesPerSecond / 32))};
  keepalive_timeout 0;
  client_max_body_size 0;
  client_body_timeout 120s;
  send_timeout 120s;
  client_body_temp_path ${content.root}/${node};
  proxy_temp_path ${state}/proxy;
  fastcgi_temp_path ${state}/fastcgi;
  uwsgi_temp_path ${state}/uwsgi;
  scgi_temp_path ${state}/scgi;
  server {
${(['4', '6'] as const).map((family) => `    listen ${bracketed(addressOf(node, 'servers', family))}:80 backlog=1024;`).join('\n')}
    root ${content.root};
    location /get/ { limit_rate ${bytesPerSecond}; }
    location /put/ { dav_methods PUT; }
  }
}
`,
    );
    lab.start(node, 'nginx', ['nginx', '-c', config, '-e', 'stderr']);
  }
}

/** Waits until all servers listen. */
export async function webServersReady(lab: Lab): Promise<void> {
  for (const node of WEB_SERVERS) {
    await lab.until(`nginx on ${node}`, 5, () =>
      lab.exec(node, 'ss', '-Hltn', 'sport = :80').includes(':80'),
    );
  }
}
