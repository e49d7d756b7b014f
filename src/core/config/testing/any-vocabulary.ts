/** For models without text, in tests: a tokenizer in a file, which nobody reads, may have any number of tokens. */
export const anyVocabulary = { tokenizer: { kind: 'file', path: 'none' } } as const
