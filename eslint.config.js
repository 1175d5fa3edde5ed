import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { direction } from './hack/lint/rooms.js';

export default defineConfig(
  globalIgnores(['dist/', 'node_modules/', 'native/build/', 'protos/gen/', '.cache/']),
  js.configs.recommended,
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.js'],
    languageOptions: { sourceType: 'module', globals: { console: 'readonly', process: 'readonly' } },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    plugins: { rooms: { rules: { direction } } },
    rules: {
      'rooms/direction': 'error',
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExportDefaultDeclaration',
          message: 'export by name: the name is then the same everywhere',
        },
        { selector: 'TSEnumDeclaration', message: 'use a union of literals' },
        { selector: 'TSModuleDeclaration[kind="namespace"]', message: 'use a module' },
        { selector: 'Decorator', message: 'no decorators' },
      ],
      'no-console': 'error',
      eqeqeq: 'error',
      'max-params': ['error', { max: 4 }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/require-await': 'off',
      // Our services are objects of closures, without this.
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    // A system call has as many arguments as the kernel says.
    files: ['native/**'],
    rules: { 'max-params': 'off' },
  },
  {
    // chai's assertions are property reads; reports are printed.
    files: ['**/*.{test,prop,suite,e2e}.ts', 'e2e/**', 'hack/**'],
    rules: {
      'no-console': 'off',
      '@typescript-eslint/no-unused-expressions': 'off',
    },
  },
);
