/** Types of what the bundler brings in. */
/// <reference types="svelte" />
/// <reference types="vite/client" />
