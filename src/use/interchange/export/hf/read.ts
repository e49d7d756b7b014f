/** Reads an exported folder back: by the path of `choir import`, or by its own Python file. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { RunError } from '../../../../core/errors.ts'
import type { ModelConfig } from '../../../../core/model/config.ts'
import { parameterSpecs } from '../../../../core/model/parameters.ts'
import type { Runtime } from '../../../../engine/contract/runtime.ts'
import { parameterTensors } from '../../../../train/step/store/named-tensors.ts'
import { ParameterStore } from '../../../../train/step/store/store.ts'
import { modelOf } from '../../../foreign/architectures/config-json.ts'
import { openTensors, readForeignConfig } from '../../../foreign/foreign-folder.ts'
import { openForeignWeights } from '../../../foreign/foreign-model.ts'
import type { ReadBack } from '../contract.ts'
import { ownLogits } from '../own-logits.ts'

/** Logits of a model that is imported into memory of its own. */
export async function importedLogits(runtime: Runtime, folder: string, tokens: Int32Array): Promise<ReadBack> {
  const { model, architecture } = modelOf(await readForeignConfig(folder))
  const store = new ParameterStore(runtime, parameterSpecs(model), null)
  const weights = await openForeignWeights(folder, {
    model,
    theirs: architecture.tensors(model),
    open: () => openTensors(folder),
  })
  try {
    for (const { name, shape, range } of parameterTensors(store))
      await range.arena.write(range.start, await weights.read({ name, shape }))
  } finally {
    await weights.close()
  }
  return { reader: 'choir import', logits: await ownLogits(runtime, model, store, tokens) }
}

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
