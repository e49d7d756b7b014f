/** Runs programs of the system that unpack and fetch packages. */
import { spawn } from 'node:child_process'
import { RunError, type Wording, wording } from '../../src/core/errors.ts'
import { childEnvironment } from '../../src/node/system/child-environment.ts'
import { errorCode } from '../../src/node/system/disk.ts'

/** Where a child can lead a group of processes, which is stopped as a whole. */
const HAS_GROUPS = process.platform !== 'win32'

/**
 * Runs a program to its end and returns what it printed on standard output. An aborted program is stopped with its own
 * children, such as the tar of dpkg-deb, so that nothing writes to its folder afterwards.
 * @param missing advice if the program is not installed
 * @throws RunError with the last error of the program if it fails
 */
export async function runProgram(
  [program = '', ...args]: readonly string[],
  {
    folder,
    missing,
    signal,
  }: { readonly folder?: string; readonly missing: string | Wording; readonly signal?: AbortSignal | undefined },
): Promise<string> {
  return await new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...childEnvironment(), LC_ALL: 'C' },
      ...(folder !== undefined && { cwd: folder }),
      detached: HAS_GROUPS,
    })
    const stop = (): void => {
      if (child.pid === undefined) return
      try {
        if (HAS_GROUPS) process.kill(-child.pid)
        else child.kill()
      } catch {
        // It has ended meanwhile.
      }
    }
    if (signal?.aborted) stop()
    else signal?.addEventListener('abort', stop, { once: true })
    let output = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = `${errors}${text}`.slice(-4000)
    })
    child.on('error', (error) => {
      signal?.removeEventListener('abort', stop)
      reject(errorCode(error) === 'ENOENT' ? new RunError(wording`${program} is not installed: ${missing}`) : error)
    })
    child.on('close', (code) => {
      signal?.removeEventListener('abort', stop)
      if (code === 0) resolve(output)
      else if (signal?.aborted) reject(signal.reason)
      else reject(new RunError(`${program} failed (exit code ${code}): ${lastLine(errors)}`))
    })
  })
}

/** The last line about the failure itself; after it, tar adds that it is exiting. */
const lastLine = (text: string): string =>
  text
    .trim()
    .split('\n')
    .findLast((line) => !/^tar: (Exiting|Error is not recoverable)/.test(line)) ?? ''

/**
 * Unpacks members of a tar archive that is compressed with xz. The archive's folder at the top is stripped.
 * @param members members as patterns of GNU tar
 */
export async function unpackArchive(
  archive: string,
  members: readonly string[],
  folder: string,
  signal?: AbortSignal,
): Promise<void> {
  const name = archive.slice(archive.lastIndexOf('/') + 1)
  const missing = (tool: string, from: string): string => `${name} is unpacked with ${tool} (apt-get install ${from})`
  await runProgram(['xz', '--version'], { missing: missing('xz', 'xz-utils'), signal })
  await runProgram(
    [
      'tar',
      '--extract',
      '--xz',
      '--file',
      archive,
      '--directory',
      folder,
      '--strip-components=1',
      '--no-same-owner',
      '--no-same-permissions',
      '--wildcards',
      '--no-wildcards-match-slash',
      ...members,
    ],
    { missing: missing('tar', 'tar'), signal },
  )
}
