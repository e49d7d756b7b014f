/**
 * This file is preloaded into the processes of tests. V8 of Node 20 optimises a function when it has run 66 KiB of
 * bytecode. In processes of a second or two that costs more than it saves; V8 of later versions waits for more by
 * itself.
 */
const { setFlagsFromString } = require('node:v8')

if (process.versions.v8.startsWith('11.')) setFlagsFromString('--interrupt-budget=2000000')
