// SPDX-License-Identifier: MIT
// Loaded before a program (--import), so that it takes this kernel for Debian 11's.
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';

os.release = () => '5.10.0-35-amd64';
syncBuiltinESMExports();
