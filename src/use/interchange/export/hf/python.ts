/** Runs the Python file of an exported folder, which needs PyTorch. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { RunError } from '../../../../core/errors.ts'
import type { ModelConfig } from '../../../../core/model/config.ts'
import type { ReadBack } from '../contract.ts'

const run = promisify(execFile)
/** Commands that may be a Python. The second is Debian's, whose packages another installation does not see. */
const interpreters = ['python3', '/usr/bin/python3']

let found: Promise<string | null> | undefined

/**
 * The command of a Python that has PyTorch; null if there is no such Python. PyTorch takes seconds to import, so a process
 * looks for it once.
 */
export function pythonWithTorch(): Promise<string | null> {
  found ??= findPython()
  return found
}

async function findPython(): Promise<string | null> {
  for (const python of interpreters)
    try {
      await run(python, ['-c', 'import torch'])
      return python
    } catch {}
  return null
}

/** Logits by the folder's own modeling_choir.py. */
export async function pythonLogits(folder: string, model: ModelConfig, tokens: Int32Array): Promise<ReadBack> {
  const python = await pythonWithTorch()
  if (!python) return { missing: 'no python3 with PyTorch is here to run modeling_choir.py' }
  const file = 'modeling_choir.py'
  const words = [join(folder, file), folder, '--tokens', tokens.join()]
  const maxBuffer = 32 * tokens.length * model.vocabulary + 2 ** 20
  const { stdout } = await run(python, words, { maxBuffer }).catch((error: Failure) => {
    // The system kills a process if memory runs out.
    if (error.signal) return { stdout: '' }
    throw new RunError(`${file} failed: ${error.stderr?.trim().split('\n').at(-1) ?? error.message}`)
  })
  if (stdout === '') return { missing: `${python} was killed while it ran ${file}, as without enough memory` }
  return { reader: `PyTorch, ${file}`, logits: Float32Array.from((JSON.parse(stdout) as number[][]).flat()) }
}

/** A program that ended with an exit code, or by a signal. */
type Failure = Error & { readonly signal?: string | null; readonly stderr?: string }
