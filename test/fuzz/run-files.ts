/** Reads the files of a run directory as commands do, without computing anything. */
import { join } from 'node:path'
import { cpuMemory } from '../../src/engine/testing/cpu-memory.ts'
import { tokenizerFromJson } from '../../src/node/data/tokenizer/native-tokenizer.ts'
import { newestCheckpoint, readCheckpoint } from '../../src/node/run/checkpoint/checkpoint.ts'
import { loadRunConfig } from '../../src/node/run/load-config.ts'
import { RunDirectory } from '../../src/node/run/run-directory.ts'
import { loadOrigin } from '../../src/node/run/weights-source.ts'
import { expectTokenizer, parseState } from '../../src/train/run/run-state.ts'
import { parameterTensors } from '../../src/train/step/store/named-tensors.ts'
import { createStore } from '../../src/train/step/trainer.ts'

/** Opens a run to resume it, up to the first step. */
export async function readRun(directory: string): Promise<void> {
  const config = await loadRunConfig(directory)
  const files = await RunDirectory.open(directory, config, true)
  try {
    const tokenizer = await files.tokenizer()
    if (tokenizer !== null) tokenizerFromJson(tokenizer)
    const checkpoint = await newestCheckpoint(join(directory, 'checkpoints'), () => {})
    await loadOrigin(directory)
    if (checkpoint) {
      const state = parseState(checkpoint.state, checkpoint.path)
      await expectTokenizer(state, tokenizer ?? '', directory)
      await readCheckpoint(checkpoint.path, { model: parameterTensors(createStore(cpuMemory, config)) })
    }
    await files.logs.rewind(checkpoint?.step ?? 0)
  } finally {
    await files.close()
  }
}
