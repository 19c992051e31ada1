// Standard output that waits for a slow reader and takes its leaving (`| head`) quietly.

/** The shell's status of a program ended by SIGPIPE would be noise: the reader had enough. */
export function quietPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }
}

export async function write(text: string | Uint8Array): Promise<void> {
  if (text.length === 0 || process.stdout.write(text)) return;
  await new Promise<void>((resolve) => process.stdout.once('drain', resolve));
}

export async function writeLine(text: string): Promise<void> {
  await write(`${text}\n`);
}
