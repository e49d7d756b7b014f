/** Settings of routers, layers and optimizers of the user's own, as a configuration gives them. */
import { z } from 'zod'
import { UsageError } from '../../errors.ts'
import type { PluginSettings } from '../../plugins.ts'
import { nearestName } from '../../text/nearest.ts'

/** Name of a setting or a parameter of a part of the user's own. */
export const OWN_NAME = /^[a-zA-Z][a-zA-Z0-9]{0,39}$/

/** Settings of a part of the user's own. The part decides about names and types. */
export const settingsSchema = z.record(
  z.string().regex(OWN_NAME, { error: 'expected letters and digits' }),
  z.union([z.number(), z.string().max(1000), z.boolean()], { error: 'expected a number, text, true or false' }),
)

/**
 * The settings of a plugin: its defaults, replaced by the values of a configuration.
 * @param field The field of the configuration, for messages.
 * @throws UsageError naming a setting that the plugin does not have, or a value of another type than its default
 */
export function pluginSettings(field: string, defaults: PluginSettings, given: PluginSettings): PluginSettings {
  const names = Object.keys(defaults)
  for (const [name, value] of Object.entries(given)) {
    const shown = `${field}.${name}: ${JSON.stringify(value)}`
    const standard = names.includes(name) ? defaults[name] : undefined
    if (standard === undefined) {
      const near = nearestName(name, names)
      const hint = near === undefined ? '' : `; did you mean "${near}"?`
      const accepted = names.length === 0 ? 'the plugin has no settings' : `accepted: ${names.join(', ')}${hint}`
      throw new UsageError(`unknown field ${shown} (${accepted})`)
    }
    if (typeof value !== typeof standard)
      throw new UsageError(
        `invalid ${shown} (expected ${typeNames[typeof standard]}, such as ${JSON.stringify(standard)})`,
      )
  }
  return { ...defaults, ...given }
}

const typeNames: Readonly<Record<string, string>> = { number: 'a number', string: 'text', boolean: 'true or false' }
