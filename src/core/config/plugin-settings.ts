/** Settings that a plugin of the user's own has, as a configuration gives them. */
import { UsageError } from '../errors.ts'
import type { PluginSettings } from '../plugins.ts'
import { suggestion } from './problems.ts'

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
      const accepted =
        names.length === 0 ? 'the plugin has no settings' : `accepted: ${names.join(', ')}${suggestion(name, names)}`
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
