//! What every engine must do alike: one suite, expanded once for each of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[cfg(feature = "postgres")]
mod database;
mod world;

#[path = "conformance/accounts.rs"]
mod accounts;
#[path = "conformance/batches.rs"]
mod batches;
#[path = "conformance/holds.rs"]
mod holds;
#[path = "conformance/modes.rs"]
mod modes;
#[path = "conformance/operations.rs"]
mod operations;
#[path = "conformance/times.rs"]
mod times;

/// Runs each test of the suite on an engine, under the attributes that are given first. A test that is missing here is an unused function, which the
/// lints refuse.
macro_rules! conformance {
    ($(#[$attribute:meta])* $engine:ident, $open:expr) => {
        conformance! { @tests [$(#[$attribute])*] $engine, $open,
            holds {
                authorize_holds_the_maximum
                t01_the_same_payment_again_resumes_for_its_owner_and_holds_once
                t01_the_same_payment_of_another_owner_is_in_progress
                after_the_lease_another_owner_takes_the_hold_over_with_the_next_epoch
                a_stale_owner_can_neither_capture_nor_void
                t02_a_spent_payment_is_known_after_a_restart
                t01_a_captured_payment_presented_again_returns_its_answer
                a_stored_answer_is_shown_to_its_tenant_alone
                a_stored_answer_is_shown_until_ten_minutes_after_valid_before_or_the_capture
                a_refund_does_not_keep_an_answer_longer
                the_same_nonce_with_other_bytes_is_a_conflict
                two_payers_may_use_one_nonce
                funds_are_judged_exactly_at_the_boundary
                t14_two_hundred_concurrent_duplicates_hold_once
                t16_two_payments_race_for_one_balance_and_one_wins
                t24_many_sessions_hold_no_more_than_the_balance
                t20_a_hold_ends_at_its_deadline_without_anybody_asking
                t20_a_thousand_abandoned_holds_all_come_back
                reclaim_ends_a_hold_after_its_deadline_and_never_before
                a_payment_is_authorized_by_its_signer_alone
                a_tenant_with_a_long_name_is_refused_before_it_is_stored
            }
            operations {
                a_capture_below_the_maximum_releases_the_rest
                captures_are_cumulative
                capture_is_idempotent
                a_capture_above_the_maximum_is_refused
                a_capture_may_not_decrease
                a_capture_after_the_deadline_is_refused
                exact_takes_its_full_amount_at_once
                void_gives_everything_back_and_is_idempotent
                a_void_signed_as_last_is_a_void
                a_void_after_a_partial_capture_releases_the_rest
                a_void_after_a_capture_is_refused
                a_void_carries_no_amount
                refunds_are_cumulative_and_bounded_by_what_was_captured
                a_refund_ends_with_its_deadline
                exact_has_no_refunds
                upto_is_taken_in_parts_and_has_no_refunds
                a_refund_needs_the_payees_funds
                another_sellers_authorizer_refunds_nothing
                a_payer_cannot_void
                a_stranger_cannot_capture
                a_payee_without_its_authorizer_key_cannot_capture
                an_operation_on_an_unknown_payment_is_refused
                an_answer_must_be_the_one_that_was_signed_for
                an_empty_list_and_one_of_1025_are_refused
                t10_operations_for_another_ledger_are_refused
            }
            batches {
                a_group_of_64_operations_is_one_entry_and_refusals_harm_nobody_else
                one_refusal_never_fails_another
                captures_race_with_voids_and_one_of_them_wins
                a_check_while_payments_run_balances
            }
            modes {
                a_charge_takes_its_amount_in_one_step
                t01_a_charge_again_returns_its_answer
                a_charge_is_bounded_by_its_terms
                a_flow_is_not_taken_for_another
                a_fee_is_rounded_over_the_whole_payment
                a_fee_is_taken_from_a_charge_too
                a_fee_outside_the_payers_limits_is_refused
                a_closed_loop_pays_its_seller_alone
                a_closed_loop_caps_what_a_payer_holds
                an_open_ledger_pays_anybody
                t10_terms_for_another_ledger_are_refused
                a_mandate_is_refused
                a_ledger_is_opened_with_what_it_was_made_with
            }
            accounts {
                an_asset_is_registered_once
                an_unknown_asset_is_refused
                a_deposit_reference_counts_once
                a_deposit_is_signed_by_the_issuer
                a_deposit_of_nothing_or_beyond_counting_is_refused
                an_added_key_pays_until_it_is_removed
                an_added_key_pays_until_it_expires
                a_pay_key_cannot_change_keys
                the_opening_key_can_be_removed
                a_key_change_is_not_applied_twice
                the_last_full_key_stays
                keys_survive_a_restart
            }
            times {
                t50_valid_before_is_judged_with_five_seconds_of_skew
                t50_valid_after_is_judged_with_five_seconds_of_skew
                t50_a_window_of_more_than_an_hour_is_refused
                t50_a_handler_may_outlast_valid_before_but_not_the_capture_deadline
                t50_deadlines_are_in_order_and_within_bounds
                t50_extreme_times_are_judged_without_overflow
                t50_a_ledger_at_the_end_of_time_still_judges
                t50_a_clock_that_goes_backwards_changes_nothing
                t50_what_has_expired_once_is_not_paid_after_a_restart_with_an_earlier_clock
                t03_an_absent_payment_stays_absent_after_its_proof
            }
        }
    };
    (@tests $attributes:tt $engine:ident, $open:expr, $($suite:ident { $($test:ident)* })*) => {
        mod $engine {
            $(mod $suite {
                $(conformance! { @test $attributes $suite $test $open })*
            })*
        }
    };
    (@test [$($attribute:tt)*] $suite:ident $test:ident $open:expr) => {
        $($attribute)*
        #[tokio::test]
        async fn $test() {
            crate::$suite::$test($open).await;
        }
    };
}

conformance!(memory, crate::world::Memory::default());
#[cfg(feature = "embedded")]
conformance!(embedded, crate::world::Embedded::default());
#[cfg(feature = "postgres")]
conformance!(
    #[ignore = "cargo xtask test"]
    postgres,
    crate::database::Postgres::default()
);
