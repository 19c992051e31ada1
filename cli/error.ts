// What splicectl itself refuses: a command line that means nothing. Exit status 2.

export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}
