/**
 * Data settings for tests of models without text. No test reads the tokenizer's file, so any vocabulary is accepted.
 */
export const anyVocabulary = { tokenizer: { kind: 'file', path: 'none' } } as const
