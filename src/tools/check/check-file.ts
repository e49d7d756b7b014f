/** Checks of a plugin in a file, with runtimes of its own. */
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import type { PluginKind } from '../../node/run/plugins/kinds.ts'
import { loadAnyPlugin, unkeptWarning } from '../../node/run/plugins/plugins.ts'
import type { PluginCheck, PluginFileCheck } from './check.ts'
import { checkBalance } from './check-balance.ts'
import { checkLayer } from './check-layer.ts'
import { checkOptimizerRule } from './check-optimizer.ts'
import { checkRouter } from './check-router.ts'
import { checkSchedule } from './check-schedule.ts'

const checks = { router: checkRouter, balance: checkBalance, layer: checkLayer, optimizer: checkOptimizerRule }

/** @throws UsageError if the file cannot be read, is no plugin, or its functions return something of another type */
export async function checkPluginFile(file: string): Promise<PluginFileCheck> {
  const { kind, id } = await loadAnyPlugin(file)
  return { ...(await checkOf(kind, id)), warning: unkeptWarning(id) ?? null }
}

async function checkOf(kind: PluginKind, id: string): Promise<PluginCheck> {
  if (kind === 'schedule') return checkSchedule(id)
  const [one, two] = await Promise.all([createRuntime({ threads: 1 }), createRuntime({ threads: 2 })])
  try {
    return await checks[kind](id, { one, two })
  } finally {
    await Promise.all([one.close(), two.close()])
  }
}
